"""Who is it, and may they: logins, access rules over operations, and the guard of both.

    files = AccessFiles("htpasswd", None, None, check=check, cores=Cores(runtime, 2), …)
    Application(registry, guard=Guard(files))

An `Authenticator` is a Protocol, so that other ways to log in go beside names and passwords:
``Guard(Fixed(Policy(access, authenticator)))``.
"""

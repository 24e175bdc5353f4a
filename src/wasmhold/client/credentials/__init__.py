"""Who the user is to a registry: given, from the environment, or from the files of docker."""

from .auth import Anonymous, Auth, Basic, Bearer, IdentityToken, RegistryAuth
from .sources import Chain, Credentials, GitHubToken, Given
from .user import UserCredentials

__all__ = [
    "Anonymous",
    "Auth",
    "Basic",
    "Bearer",
    "Chain",
    "Credentials",
    "GitHubToken",
    "Given",
    "IdentityToken",
    "RegistryAuth",
    "UserCredentials",
]

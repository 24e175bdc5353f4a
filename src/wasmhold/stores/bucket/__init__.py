"""A store over any object store that has create-if-absent and replace-if-match.

The bucket is the only truth: no database, no lock service, no leader, no clock in any argument.
Any number of processes may serve one bucket, write to it and collect in it, and each of them may
die between any two requests.

**What lies in it.**  Small objects, *cells* (`cells`), carry a state and a random nonce; bytes lie
under ``data/`` and are never moved.  `keys` has the table of all names.  Each thing is reached
through a chain of references:

    tag ``_t`` → manifest ``_m`` → link ``_b`` → blob ``b/`` → session ``u/`` → ``data/``

**How a reference comes to be**, always in three steps: it is written *pending*; then its target is
looked at, and must be live (a *doomed* one is made live again: rescued); then the reference becomes
*live*, by a replace that fails when anybody touched it in between.

**How a target goes**, always in three steps too: it is *doomed*; later the references are listed,
all that are pending, live or doomed; when none points to it, it is *killed*, by a replace that
fails when anybody touched it since it was doomed.

**Why nothing that is referred to is ever lost.**  Say the reference becomes visible at p, its
target is seen at v, doomed at d, the references are listed at l, the kill happens at k; p < v, and
d < l < k.  If v < d, then p < v < d < l: the listing shows the reference, and there is no kill.
If v > d, the writer sees the target doomed and rescues it, or sees it live because somebody else
did: its ETag is another than the doomed one, and the kill fails.  If v > k the writer sees that the
target is gone, and refuses or begins anew.  A listing in pages is no snapshot, and need not be
one: a reference that is visible all the while is on its page whenever that page is read.

Four rules make this true of a real network, where a request may be lost, or arrive after an hour:

* Every body has a new nonce, so no ETag ever comes back, and a late replace hits nothing.
* *Gone* is written, not absent.  A name gets a stub by create-if-absent and its meaning by
  replace-if-match, so a create that comes late puts down a stub and no more.
* A plain DELETE is sent to keys under ``data/`` alone: those are made from an id that is used once,
  and nothing leads to them any more when the DELETE is sent.  It may arrive whenever it likes.
* After an answer that says nothing the cell is read.  Our nonce is in it: done.  Else what is there
  now decides; never "it probably worked".

`tests/model` runs these very functions through every order of their requests, with lost, late and
refused ones and with crashes, and shows that it notices when any one of the guards is taken out.
"""

"""One operation, performed: checked, done by the store, told as a result."""

from __future__ import annotations

from ..ports.actor import Actor
from ..ports.body import Body
from ..ports.store import Store
from ..protocol import operations as op
from ..protocol import results as res
from . import blobs, lists, manifests, uploads
from .settings import Settings


class Registry:
    """The operations of the Distribution API over one store.

    It knows no status and no header, and awaits only its store.
    """

    def __init__(self, store: Store, settings: Settings | None = None) -> None:
        self.store = store
        self.settings = settings or Settings()

    async def perform(self, actor: Actor, operation: op.Operation, body: Body) -> res.Result:
        """Do `operation`, which `actor` may.

        `body` is the request's and stays the caller's, who closes it.

        Raises errors of the tree in `oci.errors`, nothing else.
        """
        store, settings = self.store, self.settings
        match operation:
            case op.GetManifest():
                return await manifests.get_manifest(store, operation)
            case op.GetBlob():
                return await blobs.get_blob(store, operation)
            case op.Ping():
                return res.Pong()
            case op.StartUpload():
                settings.check_push()
                return await uploads.start_upload(store, operation)
            case op.PushBlob():
                settings.check_push()
                return await uploads.push_blob(store, operation, body)
            case op.MountBlob():
                settings.check_push()
                return await uploads.mount_blob(store, operation, actor.reads)
            case op.AppendChunk():
                settings.check_push()
                return await uploads.append_chunk(store, operation, body)
            case op.CommitUpload():
                settings.check_push()
                return await uploads.commit_upload(store, operation, body)
            case op.GetUpload():
                return await uploads.get_upload(store, operation)
            case op.CancelUpload():
                settings.check_push()
                return await uploads.cancel_upload(store, operation)
            case op.PutManifest():
                settings.check_push()
                return await manifests.put_manifest(store, settings, operation, body)
            case op.ListTags():
                return await lists.list_tags(store, operation)
            case op.ListReferrers():
                return await lists.list_referrers(store, operation)
            case op.ListRepositories():
                return await lists.list_repositories(store, operation, actor.reads)
            case op.DeleteManifest():
                settings.check_delete()
                return await manifests.delete_manifest(store, settings, operation)
            case op.DeleteBlob():
                settings.check_delete()
                return await blobs.delete_blob(store, operation)
            case op.Redirect():
                return res.Moved(operation.target)

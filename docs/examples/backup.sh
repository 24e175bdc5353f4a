#!/bin/sh
# A copy of a directory that may be served meanwhile:  sh backup.sh FROM TO
#
# FROM is the directory of the store; TO is a folder, or HOST:FOLDER.  Given the same TO again it copies
# what is new, and removes there what has been deleted.  It needs rsync.
set -eu

from=${1:?want: backup.sh FROM TO}
to=${2:?want: backup.sh FROM TO}

# 24: a file has vanished since it was listed, as files that are not finished do.
copy() { rsync -aH --delete --exclude=/.wasmhold/tmp --exclude=/.wasmhold/uploads "$@" "$from/" "$to/" || [ $? = 24 ]; }

# What refers goes before what it refers to: while we copy, a tag may move to a manifest that is new.
copy --exclude=/.wasmhold --exclude=blobs --exclude=.wasmhold/manifests --exclude=.wasmhold/referrers
copy --exclude=/.wasmhold --exclude=blobs --exclude=.wasmhold/tags
copy --exclude=.wasmhold/tags --exclude=.wasmhold/manifests --exclude=.wasmhold/referrers

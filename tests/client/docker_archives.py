"""Archives as docker saves them, of every age, made of layers that are given."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

from wasmhold.oci.digest import Digest


def layer(text):
    """A tar with one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(f"{text}.txt")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def config_of(*layers, **more):
    members = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(one)) for one in layers]},
        **more,
    }
    return json.dumps(members).encode()


def hex_of(content):
    return Digest.of(content).encoded


def packed(members, mode="w", **options):
    """A tar of names and contents; a text instead of bytes is where a symbolic link leads."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, **options) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def manifest_json(*images):
    """Of config, names and layers each."""
    return json.dumps([
        {"Config": config, "RepoTags": names, "Layers": layers} for config, names, layers in images
    ]).encode()  # fmt: skip


def as_old_docker(layers, names):
    """Docker before 25: a folder for each layer; one that was there is a link."""
    config = config_of(*layers)
    members, files, first = [], [], {}
    for number, content in enumerate(layers):
        identity = Digest.of(f"{number}".encode()).encoded
        files.append(f"{identity}/layer.tar")
        members += [(identity, None), (f"{identity}/VERSION", b"1.0"), (f"{identity}/json", b"{}")]
        if content in first:
            members.append((files[-1], f"../{first[content]}/layer.tar"))
        else:
            first[content] = identity
            members.append((files[-1], content))
    saved = manifest_json((f"{hex_of(config)}.json", names, files))
    members += [(f"{hex_of(config)}.json", config), ("manifest.json", saved), ("repositories", b"{}")]  # fmt: skip
    return members


def as_skopeo(layers, names):
    """skopeo, podman, buildah: layers by digest, and links to them for old readers."""
    config = config_of(*layers)
    members, files = [], []
    for number, content in enumerate(layers):
        files.append(f"{hex_of(content)}.tar")
        if files[-1] not in files[:-1]:
            members.append((files[-1], content))
        members.append((f"{number}/layer.tar", f"../{files[-1]}"))
    saved = manifest_json((f"{hex_of(config)}.json", names, files))
    return [*members, (f"{hex_of(config)}.json", config), ("manifest.json", saved)]


def as_crane(layers, names):
    """crane, kaniko: compressed layers, and the manifest at the end."""
    config = config_of(*layers)
    blobs = [gzip.compress(content, mtime=0) for content in layers]
    files = [f"{hex_of(blob)}.tar.gz" for blob in blobs]
    members = dict(zip(files, blobs, strict=True))
    saved = manifest_json((f"sha256:{hex_of(config)}", names, files))
    return [(f"sha256:{hex_of(config)}", config), *members.items(), ("manifest.json", saved)]


def as_new_docker(layers, names, media_type="application/vnd.oci.image.manifest.v1+json"):
    """Docker since 25: an image layout, of which ``manifest.json`` tells too."""
    config = config_of(*layers)
    tar = "application/vnd.oci.image.layer.v1.tar"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": describe(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [describe(content, tar) for content in layers],
        },
        indent=3,
    ).encode()
    entries = [
        {
            **describe(manifest, media_type),
            "annotations": {
                "io.containerd.image.name": f"docker.io/library/{name}",
                "org.opencontainers.image.ref.name": name.rpartition(":")[2],
            },
        }
        for name in names
    ]
    index = {"schemaVersion": 2, "manifests": entries}
    blobs = {f"blobs/sha256/{hex_of(one)}": one for one in (*layers, config, manifest)}
    files = [f"blobs/sha256/{hex_of(content)}" for content in layers]
    saved = manifest_json((f"blobs/sha256/{hex_of(config)}", names, files))
    return [
        *blobs.items(),
        ("index.json", json.dumps(index).encode()),
        ("manifest.json", saved),
        ("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
    ]


def describe(content, media_type):
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


FORMS = {
    "old docker": as_old_docker,
    "skopeo": as_skopeo,
    "crane": as_crane,
    "new docker": as_new_docker,
}

"""What goes wrong in zlayer-registry, worst first, and the tests that show it right here.

Found by running and reading it (13 June 2026, commit e6528ddd1bfb); each row of
docs/requirements/zlayer-registry.md says what is done instead.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.image.layers.corpus import CASES

TESTS = Path(__file__).parents[1]

# fmt: off
FAULTS = [
    # row,     what goes wrong there,                                                the tests of it here
    # Outside of where it should be
    ("ZL-813", "unpacking writes through links, outside of the folder",              ["image/layers/test_corpus.py::test_corpus[U-01]",
                                                                                      "image/layers/test_corpus.py::test_corpus[U-02]",
                                                                                      "image/layers/test_corpus.py::test_over_what_is_there"]),
    ("ZL-814", "a hard link gives a file of the host",                               ["image/layers/test_corpus.py::test_corpus[U-03]",
                                                                                      "image/layers/test_corpus.py::test_corpus[U-04]"]),
    ("ZL-816", "a whiteout removes what is above the folder, or beside it",          ["image/layers/test_corpus.py::test_corpus[U-05]",
                                                                                      "image/layers/test_corpus.py::test_corpus[U-06]",
                                                                                      "image/layers/test_corpus.py::test_corpus[U-19]"]),
    ("ZL-703", "deleting the image `..` empties the whole registry",                 ["client/test_local_registry.py::test_a_name_that_is_none_touches_nothing"]),
    # Trees that are not what the image says
    ("ZL-802", "all but the first member of a gzip layer is missing",                ["image/layers/test_corpus.py::test_corpus[U-10]"]),
    ("ZL-818", "a file that was removed and came again is missing",                  ["image/layers/test_corpus.py::test_corpus[U-07]"]),
    ("ZL-819", "an opaque folder loses what its own layer puts there",               ["image/layers/test_corpus.py::test_corpus[U-08]",
                                                                                      "image/layers/test_corpus.py::test_corpus[U-09]"]),
    ("ZL-817", "a link that leads nowhere cannot be removed",                        ["image/layers/test_corpus.py::test_corpus[U-12]"]),
    ("ZL-820", "a file in the place of a folder is an error",                        ["image/layers/test_corpus.py::test_corpus[U-11]"]),
    # Content that is not what its digest says
    ("ZL-764", "an import stores a changed layer and says success",                  ["image/test_import.py::test_what_is_damaged_is_not_tagged",
                                                                                      "image/test_import.py::test_one_that_is_damaged_keeps_the_others_from_their_tags"]),
    ("ZL-706", "a manifest is stored under a digest that it has not",                ["client/test_local_registry.py::test_what_is_no_manifest_is_not_stored"]),
    ("ZL-505", "a cache gives what it read without a look",                          ["client/caches/test_disk.py::test_a_damaged_blob_is_a_miss",
                                                                                      "client/caches/test_shared.py::test_wrong_bytes_never_come_out_whole_and_go"]),
    ("ZL-221", "a text file with the right media type is pulled as WebAssembly",     ["image/test_wasm.py::test_what_is_no_webassembly"]),
    # Policies that do not hold
    ("ZL-184", "`always` is answered by a local copy",                               ["image/test_policies.py::test_always_takes_the_manifest_from_its_origin"]),
    ("ZL-185", "`never` goes to the network",                                        ["image/test_policies.py::test_never_opens_no_socket"]),
    ("ZL-182", "`local_only` fetches blobs from the network",                        ["image/test_policies.py::test_remote_only_falls_back_on_nothing_and_local_only_asks_nobody"]),
    ("ZL-059", "with a default registry, blobs are still asked of Docker Hub",       ["image/test_policies.py::test_with_a_default_registry_a_bare_name_is_sent_there_only"]),
    ("ZL-060", "the name of a local image is sent to Docker Hub",                    ["image/test_policies.py::test_a_bare_name_that_is_here_is_sent_to_nobody"]),
    # What a push loses
    ("ZL-251", "the digest that a push returns is of other bytes",                   ["image/test_push.py::test_the_digest_is_that_of_the_bytes_that_were_sent"]),
    ("ZL-254", "titles and annotations of pushed WebAssembly are lost",              ["image/test_push.py::test_wasm_is_pushed_as_it_was_built",
                                                                                      "image/test_examples.py::test_build_and_push"]),
    ("ZL-255", "the digest of a pushed artifact is a URL",                           ["image/test_push.py::test_an_artifact"]),
    ("ZL-653", "the same annotations give another digest in each run",               ["artifact/test_export.py::test_the_same_arguments_give_the_same_bytes"]),
    # Credentials
    ("ZL-104", "the first credentials for a host stay for all calls",                ["client/test_login.py::test_credentials_belong_to_the_call",
                                                                                      "image/test_configuration.py::test_credentials_belong_to_the_call"]),
    # What is there and does nothing
    ("ZL-541", "the shared cache can hold no manifest",                              ["peers/test_shared_cache.py::test_what_one_left_another_pulls_without_a_network"]),
    ("ZL-503", "the original name of an image is never kept",                        ["client/caches/test_caches.py::test_the_suite",
                                                                                      "image/test_manifests.py::test_a_manifest_is_the_exact_bytes_that_came"]),
    ("ZL-544", "the local folder of a shared cache is a map in memory",              ["client/caches/test_shared.py::test_what_is_read_comes_nearer"]),
    ("ZL-511", "a cache that is opened at a path is one in memory",                  ["client/caches/test_disk.py::test_it_is_opened_without_an_event_loop_and_outlives_the_process"]),
    # Images that are lost
    ("ZL-580", "a prune deletes the blobs of a manifest that it cannot read",        ["client/caches/test_methods.py::test_a_manifest_that_cannot_be_read_ends_it_before_anything_is_removed",
                                                                                      "client/caches/test_methods.py::test_prune_follows_indexes_subjects_and_referrers"]),
    ("ZL-581", "removing one image takes the layers of another",                     ["client/caches/test_methods.py::test_images_are_listed_removed_and_tagged"]),
    ("ZL-702", "`a/b` and `a_b` are one image",                                      ["client/test_local_registry.py::test_names_that_look_alike_are_kept_apart"]),
    ("ZL-710", "a collection frees nothing, and skips what it cannot read",          ["client/test_local_registry.py::test_collection_keeps_what_is_reachable",
                                                                                      "client/test_local_registry.py::test_collection_leaves_an_image_alone_that_it_cannot_read"]),
    ("ZL-763", "of an archive the first image alone is imported",                    ["image/test_import.py::test_everything_that_an_archive_holds"]),
    ("ZL-754", "an index is exported without what it lists",                         ["image/test_export.py::test_an_index_with_all_its_children"]),
    ("ZL-771", "repeated layers of docker's archives come out empty",                ["client/test_docker_archive.py::test_every_form"]),
    # Memory without a limit
    ("ZL-157", "whole images are held while they are pulled",                        ["image/test_memory.py::test_memory_does_not_grow_with_what_is_pulled"]),
    ("ZL-752", "an export holds the whole image, up to three times",                 ["image/test_exchange_memory.py::test_an_image_of_a_gibibyte"]),
    ("ZL-762", "an import decompresses without a limit",                             ["image/test_import.py::test_limits"]),
    ("ZL-823", "a layer may unpack to any size",                                     ["image/layers/test_corpus.py::test_corpus[a bomb]",
                                                                                      "image/layers/test_corpus.py::test_corpus[too many bytes]"]),
    # The network
    ("ZL-114", "plain HTTP is impossible",                                           ["client/test_login.py::test_plain_http_is_for_loopback_and_who_is_named"]),
    ("ZL-155", "nothing is tried again, and no download goes on",                    ["image/test_blobs.py::test_a_broken_download_goes_on_from_the_bytes_that_are_there",
                                                                                      "image/test_blobs.py::test_what_may_heal_is_tried_again_and_told"]),
]
# fmt: on


def test_each_fault_stands_here_once():
    assert len({row for row, *_ in FAULTS}) == len(FAULTS) == 40


@cache
def covered_in(file: str) -> dict[str, set[str]]:
    """The tests of a file, and the rows that each covers."""
    found: dict[str, set[str]] = {}
    for node in ast.parse((TESTS / file).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            covers = [
                call
                for call in node.decorator_list
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "covers"
            ]
            found[node.name] = {str(ast.literal_eval(row)) for call in covers for row in call.args}
    return found


@pytest.mark.parametrize(("row", "fault", "shown_by"), FAULTS, ids=[row for row, *_ in FAULTS])
def test_what_goes_wrong_there_is_shown_right_here(row, fault, shown_by):
    assert shown_by, fault
    for test in shown_by:
        file, _, name = test.partition("::")
        name, _, case = name.partition("[")
        assert name.startswith("test_")
        assert not case or case.removesuffix("]") in {one.id for one in CASES}, test
        assert row in covered_in(file).get(name, set()), f"{test} does not cover {row}: {fault}"

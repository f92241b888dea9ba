"""gs:// by gcsfs, with a service account's key against a storage on this machine."""

import json
import sys

import pytest
from gcs_server import serving
from own_process import reads

from frontier.readers import optional

TOKEN = "ya29.secretsecretsecret"


@pytest.fixture
def key(tmp_path):
    """A service account's key file as Google gives it, whose token comes from the storage below."""
    pytest.importorskip("gcsfs", reason="gcsfs is not installed (make clients)")
    serialization = pytest.importorskip(
        "cryptography.hazmat.primitives.serialization", reason="cryptography is not installed (make clients)"
    )
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account", "project_id": "private-project", "private_key_id": "1",
        "private_key": private.decode(), "client_email": "alice@private-project.iam.gserviceaccount.com",
    }  # fmt: skip


def read(url, key, tmp_path, *addresses):
    """What a process of its own reads, whose credentials are found where Google's clients look."""
    place = tmp_path / "key.json"
    place.write_text(json.dumps({"token_uri": f"{url}/token"} | key))
    settings = {
        "STORAGE_EMULATOR_HOST": url, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # which is gRPC
        "GOOGLE_APPLICATION_CREDENTIALS": str(place),
        "SAE_FRONTIER_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip
    said, printed = reads(tmp_path, settings, *addresses)
    written = b"".join(
        p.read_bytes() + str(p).encode() for p in (tmp_path / "cache").rglob("*") if p.is_file()
    )
    for secret in (TOKEN, "private-project", "PRIVATE KEY", url.partition("//")[2]):
        assert secret not in printed and secret.encode() not in written
    return said


def test_a_bucket_a_folder_and_a_file(key, tmp_path):
    bucket = tmp_path / "bucket"
    for i, name in enumerate(("runs/a.csv", "runs/deep/b.csv", "runs/deep/c.csv", "other.csv", "runs/w.pt")):
        place = bucket / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"family,l0,fvu\nfamily_{i},{i + 1},0.5\n")
    with serving({"saes": bucket}, TOKEN) as url:
        addresses = (
            "gs://saes",
            "gs://saes/runs",
            "gs://saes/runs/deep/b.csv",
            "gs://saes/none",
            "gs://no/x",
        )
        whole, folder, one, none, no_bucket = read(url, key, tmp_path, *addresses)
    assert whole["family"] == ["family_0", "family_1", "family_2", "family_3"]
    assert folder["family"] == ["family_0", "family_1", "family_2"]
    assert folder["source"][0] == "runs/a.csv" and one["family"] == ["family_1"]
    for said in (none, no_bucket):
        assert "cannot be reached" in said["error"] and "gcloud auth" in said["error"]


def test_without_access_the_way_to_it_is_named(key, tmp_path):
    with serving({"saes": tmp_path}, TOKEN) as url:
        with serving({}, "ya29.another") as elsewhere:
            wrong = key | {"token_uri": f"{elsewhere}/token"}
            (said,) = read(url, wrong, tmp_path, "gs://saes/a.csv")
    assert "access is refused; `gcloud auth" in said["error"]
    assert "127.0.0.1" not in said["error"] and "alice" not in said["error"]


def test_a_missing_client_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ImportError, match=r"pip install 'sae-frontier\[gs\]'"):
        optional.optional("gcsfs", "gs")

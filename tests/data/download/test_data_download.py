"""Downloads from a server on this machine: resumed, bounded, and nowhere but where they were sent."""
import shutil
import socket
import ssl
import subprocess
import time

import pytest
from local_server import serving

from tinyq.data.download.transfer import Downloader, Unreachable
from tinyq.errors import BadInput, UsageError
from tinyq.files.partial import PartialFile

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def served():
    with serving() as served:
        served.files["file"] = CONTENT
        yield served


def receive(served, path, downloader=None, most=256_000, name="file"):
    downloader = downloader or Downloader(schemes=("http",), pause=0, stall=5)
    with PartialFile(path) as partial:
        downloader.receive(served.address + name, partial, most)
    return path.read_bytes()


def test_a_file_arrives(served, tmp_path):
    assert receive(served, tmp_path / "part") == CONTENT
    assert served.requests == [("file", None)]


def test_a_broken_download_goes_on_where_it_broke(served, tmp_path):
    served.cut = [100_000, 50_000]
    assert receive(served, tmp_path / "part") == CONTENT
    assert [asked for _, asked in served.requests] == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_command_goes_on_with_what_an_earlier_one_left(served, tmp_path):
    served.cut = [100_000]
    with pytest.raises(Unreachable, match="ended early"):
        receive(served, tmp_path / "part", Downloader(schemes=("http",), attempts=1, pause=0))
    assert (tmp_path / "part").read_bytes() == CONTENT[:100_000]
    assert receive(served, tmp_path / "part") == CONTENT


def test_a_server_that_gets_no_further_is_given_up(served, tmp_path):
    served.cut = [1000, 0, 0, 0]
    with pytest.raises(Unreachable, match="ended early"):
        receive(served, tmp_path / "part")
    assert len(served.requests) == 2 and (tmp_path / "part").stat().st_size == 1000


def test_a_server_without_ranges_sends_all_again(served, tmp_path):
    served.ranges, served.cut = False, [100_000]
    assert receive(served, tmp_path / "part") == CONTENT
    assert len(served.requests) == 2


def test_a_server_that_does_not_say_the_length_is_believed(served, tmp_path):
    served.lengths = False
    assert receive(served, tmp_path / "part") == CONTENT


def test_a_complete_part_is_recognised_and_one_of_another_file_begun_again(served, tmp_path):
    (tmp_path / "part").write_bytes(CONTENT)
    assert receive(served, tmp_path / "part") == CONTENT and len(served.requests) == 1
    (tmp_path / "part").write_bytes(CONTENT + b"more")
    assert receive(served, tmp_path / "part", most=10**6) == CONTENT


def test_another_part_than_asked_for_is_not_appended(served, tmp_path):
    served.shift = 5
    (tmp_path / "part").write_bytes(CONTENT[:10])
    assert receive(served, tmp_path / "part") == CONTENT    # begun again from the start
    assert [asked for _, asked in served.requests] == ["bytes=10-", None]


def test_an_endless_body_stops_at_the_limit(served, tmp_path):
    with pytest.raises(BadInput, match="more than the 1,000 bytes"):
        receive(served, tmp_path / "part", most=1000)
    assert (tmp_path / "part").stat().st_size == 0


def test_missing_files_and_closed_ports_are_unreachable(served, tmp_path):
    with pytest.raises(Unreachable, match="HTTP 404 Not Found"):
        receive(served, tmp_path / "part", name="other")
    closed = served.address
    with serving() as gone:
        closed = gone.address
    with PartialFile(tmp_path / "part") as partial, pytest.raises(Unreachable, match="refused"):
        Downloader(schemes=("http",), pause=0).receive(closed + "file", partial, 10)


def test_a_silent_server_counts_as_broken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent, PartialFile(tmp_path / "part") as partial:
        with pytest.raises(Unreachable, match="timed out"):
            address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            Downloader(schemes=("http",), stall=0.1).receive(address, partial, 10)


def test_only_https_is_used_unless_a_test_says_otherwise(tmp_path):
    for address in ("http://127.0.0.1/", "ftp://127.0.0.1/", "file:///etc/passwd", "/etc/passwd"):
        with PartialFile(tmp_path / "part") as partial, pytest.raises(UsageError, match="only https addresses"):
            Downloader().receive(address, partial, 10)


def test_redirections_are_followed_three_times(served, tmp_path):
    served.redirects = {"a": "/b", "b": "/c", "c": "/file", "z": "/a"}
    assert receive(served, tmp_path / "part", name="a") == CONTENT
    with pytest.raises(Unreachable, match="HTTP 302"):
        receive(served, tmp_path / "other", name="z")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "https://127.0.0.1:1/x"])
def test_redirections_to_other_schemes_are_refused(served, tmp_path, target):
    served.redirects["file"] = target
    with pytest.raises(Unreachable, match="not allowed|not http"):
        receive(served, tmp_path / "part")
    assert (tmp_path / "part").stat().st_size == 0


@pytest.fixture
def certificate(tmp_path):
    """(server's context, client's context) of a certificate made for this test."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


def test_https_works_and_a_redirection_from_it_to_http_is_refused(certificate, tmp_path):
    server, client = certificate
    with serving(server) as safe, serving() as unsafe:
        safe.files["file"], unsafe.files["file"] = CONTENT, CONTENT
        safe.redirects["moved"] = unsafe.address + "file"
        downloader = Downloader(context=client, pause=0)
        assert receive(safe, tmp_path / "part", downloader) == CONTENT
        with pytest.raises(Unreachable, match="redirects to http://.* which is not https"):
            receive(safe, tmp_path / "other", downloader, name="moved")
        assert unsafe.requests == []


def test_a_certificate_nobody_vouches_for_is_refused(certificate, tmp_path):
    with serving(certificate[0]) as safe:
        safe.files["file"] = CONTENT
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            receive(safe, tmp_path / "part", Downloader(pause=0))
        assert (tmp_path / "part").stat().st_size == 0


def test_progress_is_told_of_every_piece(served, tmp_path):
    told = []
    downloader = Downloader(schemes=("http",), pause=0, progress=lambda *state: told.append(state))
    receive(served, tmp_path / "part", downloader)
    assert told[-1] == (len(CONTENT), len(CONTENT)) and [received for received, _ in told] == sorted(r for r, _ in told)


@pytest.mark.parametrize("headers", [{"Content-Length": "\u00b2"}, {"Content-Length": "9" * 5000},
                                     {"Content-Length": "-5"}, {"Content-Length": "0x10"},
                                     {"Content-Range": "bytes \u0661-\u0662/\u0663"}], ids=str)
def test_a_length_that_is_no_number_is_unreachable_or_not_believed(served, tmp_path, headers):
    served.headers = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    try:
        assert receive(served, tmp_path / "part") == CONTENT
    except Unreachable:
        pass


@pytest.mark.parametrize("target", ["http://[::bad", "http://a b/", "http://\x7f/", "http://" + "a" * 300 + "/",
                                    "http://127.0.0.1:99999/", "http://127.0.0.1:x/"])
def test_a_redirection_to_no_address_is_unreachable(served, tmp_path, target):
    served.redirects["file"] = target
    with pytest.raises(Unreachable):
        receive(served, tmp_path / "part")


@pytest.mark.parametrize("address", ["https://[::bad", "https:///", "[", "https://\x00"])
def test_a_mirror_that_is_no_address_is_a_usage_error_or_unreachable(tmp_path, address):
    with PartialFile(tmp_path / "part") as partial, pytest.raises((UsageError, Unreachable)):
        Downloader(pause=0, stall=1).receive(address, partial, 10)


@pytest.mark.parametrize("part", ["headers", "body", "chunk"])
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(served, tmp_path, part):
    served.trickle, began = part, time.monotonic()
    with pytest.raises(Unreachable, match="it sends fewer than 1,000 bytes per second"):
        receive(served, tmp_path / "part", Downloader(schemes=("http",), attempts=2, pause=0, stall=0.5))
    assert time.monotonic() - began < 5

"""Commands go on when nobody reads what they print any more."""

import subprocess
import sys
import textwrap

PRINTS = """
    import logging, sys
    from w2v2_mt.core.lasting_output import outlive_output
    outlive_output()
    logging.basicConfig(stream=sys.stdout)
    print("first \u00e9", flush=True)
    sys.stdin.read()
    for _ in range(9):
        print("x" * 99_999, flush=True)
        print("e" * 99_999, file=sys.stderr, flush=True)
        logging.error("x")
    open(sys.argv[1], "w").write("went on")
"""


def started(path, **options):
    command = [sys.executable, "-X", "utf8", "-c", textwrap.dedent(PRINTS), str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, **options)


def test_a_command_goes_on_when_the_reader_of_its_output_has_gone(tmp_path):
    pipe = subprocess.PIPE
    process = started(tmp_path / "end", stdout=pipe, stderr=subprocess.STDOUT)
    assert process.stdout.readline().decode() == "first \u00e9\n"
    process.stdout.close()
    process.stdin.close()
    assert process.wait() == 0
    assert (tmp_path / "end").read_text() == "went on"


def test_a_command_goes_on_when_its_log_cannot_be_written(tmp_path):
    with open("/dev/full", "w") as full:
        process = started(tmp_path / "end", stdout=full, stderr=full)
        process.communicate(b"")
    assert process.returncode == 0
    assert (tmp_path / "end").read_text() == "went on"


def test_a_stream_that_is_no_file_stays(capsys):
    from w2v2_mt.core.lasting_output import outlive_output

    outlive_output()
    print("kept")
    assert capsys.readouterr().out == "kept\n"

import io
import logging
import sys

from w2v2_mt.core.terminal import StdoutHandler


def test_a_log_message_goes_to_the_present_stdout(monkeypatch):
    handler = StdoutHandler()
    # A progress bar replaces stdout while it is shown, to print above the bar.
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    handler.emit(logging.makeLogRecord({"msg": "saved"}))
    assert sys.stdout.getvalue() == "saved\n"

import multiprocessing
import os
import signal
import time

import pytest

from w2v2_mt.core.stop_signals import (
    STOP_SIGNALS,
    hold_stop_signals,
    leave_stop_signals_to_parent,
    receive_stop_signals,
)

forked = multiprocessing.get_context("fork")


def work(ready):
    leave_stop_signals_to_parent()
    ready.set()
    time.sleep(60)


@pytest.fixture
def helper():
    ready = forked.Event()
    process = forked.Process(target=work, args=(ready,))
    with hold_stop_signals():
        process.start()
    assert ready.wait(30)
    yield process
    process.kill()
    process.join()


def send_from_another_process(helper, number):
    sender = forked.Process(target=os.kill, args=(helper.pid, number))
    sender.start()
    sender.join()


def test_a_helper_ignores_the_stop_signals_of_others(helper):
    for number in STOP_SIGNALS:
        send_from_another_process(helper, number)
    helper.join(0.3)
    assert helper.exitcode is None


def test_a_helper_ends_when_its_parent_terminates_it(helper):
    send_from_another_process(helper, signal.SIGTERM)
    helper.terminate()
    helper.join(10)
    assert helper.exitcode == 0


def start_helper(sender):
    helper = forked.Process(target=work, args=(forked.Event(),))
    helper.start()
    sender.send(helper.pid)
    os._exit(0)


def test_a_helper_ends_with_its_parent():
    receiver, sender = forked.Pipe(duplex=False)
    parent = forked.Process(target=start_helper, args=(sender,))
    parent.start()
    sender.close()
    helper_id = receiver.recv()
    parent.join()
    # The pipe, which the helper holds as well, is closed with its end.
    assert receiver.poll(10)
    with pytest.raises(EOFError):
        receiver.recv()
    assert helper_id != parent.pid


def test_a_signal_waits_for_the_end_of_the_context():
    received = []
    former = signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))
    try:
        with hold_stop_signals():
            signal.raise_signal(signal.SIGUSR1)
            assert not received
        assert received == [signal.SIGUSR1]
        with hold_stop_signals():
            receive_stop_signals()
            signal.raise_signal(signal.SIGUSR1)
            assert len(received) == 2
    finally:
        signal.signal(signal.SIGUSR1, former)

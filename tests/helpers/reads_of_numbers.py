"""What in a piece of code makes the host wait for a number from the device, seen without one."""

from torch.utils._python_dispatch import TorchDispatchMode


class ReadsOfNumbers(TorchDispatchMode):
    """Keeps the names of the operations that do; a backward pass in it counts as well."""

    WAITING = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "_unique2")

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in self.WAITING:
            self.names.append(name)
        return func(*args, **(kwargs or {}))

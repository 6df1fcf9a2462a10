"""Headers of tar files, read in bounded memory whatever sizes they state."""

import tarfile

MAX_HEADER_BYTES = 1 << 20
"""The largest header of long names and attributes; tarfile reads it whole."""


class BoundedTarInfo(tarfile.TarInfo):
    """A member whose headers take little memory; the map of a sparse file is not read.

    Pass the class to `tarfile.open`. `issparse` is right, but the content of a sparse file must not
    be read. Source: the functions of the same names in the standard library.
    """

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        is_header = self.type in (
            *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
            *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
        )
        if is_header and not 0 <= self.size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(
                f"a header of {self.size} bytes, where {MAX_HEADER_BYTES} are the most that is read"
            )
        return super()._proc_member(archive)  # type: ignore[misc]

    def _proc_sparse(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        assert archive.fileobj is not None
        _, has_more, _ = self._sparse_structs  # type: ignore[attr-defined]
        del self._sparse_structs  # type: ignore[attr-defined]
        while has_more:
            block = archive.fileobj.read(tarfile.BLOCKSIZE)
            has_more = len(block) == tarfile.BLOCKSIZE and block[504] != 0
        self.sparse = []  # type: ignore[assignment]
        self.offset_data = archive.fileobj.tell()
        archive.offset = self.offset_data + self._block(self.size)  # type: ignore[attr-defined]
        return self

    def _proc_gnusparse_10(self, member: tarfile.TarInfo, *_: object) -> None:
        member.sparse = []  # type: ignore[assignment]

"""Which row of the slabs is whose: rows are handed out and taken back, nothing more.

0 ... capacity + spare - 1    handed out: one for each live sequence, and one for each step that runs
initial                       the state every sequence starts from; read only
padding                       where the rows that fill up a batch go; written only
"""

__all__ = ["SlotTable"]


class SlotTable:
    """The free rows of one engine's slabs. Owned by the sequence batcher.

    `capacity` sequences may hold a row each while `spare` steps write to one each: a step reads its sequence's row and
    writes another, which becomes the sequence's once the step has succeeded.
    """

    def __init__(self, capacity: int, spare: int) -> None:
        self.initial = capacity + spare
        self.padding = self.initial + 1
        self.rows = self.padding + 1
        # Taken from the end: the lowest rows first, and then those used last, whose memory is warm.
        self._free = list(range(self.initial - 1, -1, -1))
        self._taken: set[int] = set()

    @property
    def taken(self) -> int:
        """How many rows are handed out."""
        return len(self._taken)

    def take(self) -> int:
        """Hand out a row; there always is one, for there are as many as sequences and running steps together."""
        slot = self._free.pop()
        self._taken.add(slot)
        return slot

    def give_back(self, slot: int) -> None:
        """Take a row back; handing one back twice is a mistake of ours and raises KeyError."""
        self._taken.remove(slot)
        self._free.append(slot)

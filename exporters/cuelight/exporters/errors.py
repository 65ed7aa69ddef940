"""What an export fails of: something the user can put right, said in words."""

__all__ = ["ExportError"]


class ExportError(Exception):
    """The model cannot be exported as it is; the message names the offender, what was expected and what came."""

"""What `eval chat`, `eval sft-fit`, `generate` and `chat` have in common."""

from picochat.errors import UserError

# whose parameters are their flags
LOADING, DECODING = "picochat.model.engine.load_model", "picochat.model.engine.Decoding"


def require_text(flag: str, text: str) -> str:
    """A text of the command line or of stdin; UserError, naming its flag, where it is empty or not UTF-8."""
    if not text.strip():
        raise UserError(f"{flag} is empty; give a text, or leave it out")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # where Python put half of a surrogate pair for a byte that it could not read
        raise UserError(f"{flag} is not UTF-8 (character {error.start + 1}); give it as UTF-8") from error
    return text

"""Names for URLs and files."""


def slugify(text: str, separator: str = "-") -> str:
    """Give `text` in lower case, with each run of characters other than letters and digits as one separator.

    A slug neither begins nor ends with a separator: `slugify("  Hello, World! ")` is `"hello-world"`.
    """
    return "".join(character if character.isalnum() else separator for character in text.lower())

"""Small functions on text."""

from textkit.duration import format_duration, parse_duration
from textkit.slug import slugify
from textkit.wrap import wrap

__all__ = ["format_duration", "parse_duration", "slugify", "wrap"]

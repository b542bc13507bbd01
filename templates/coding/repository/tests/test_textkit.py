import unittest

from textkit import format_duration, parse_duration, slugify, wrap


class TestTextkit(unittest.TestCase):
    def test_slug_of_two_words(self):
        self.assertEqual(slugify("Hello World"), "hello-world")

    def test_wrap_of_a_short_line(self):
        self.assertEqual(wrap("to be", 10), ["to be"])

    def test_duration_of_one_unit(self):
        self.assertEqual(parse_duration("90m"), 5400)

    def test_duration_as_text(self):
        self.assertEqual(format_duration(3725), "1h2m5s")


if __name__ == "__main__":
    unittest.main()

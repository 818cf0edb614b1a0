"""Print and quote text: nothing that a file holds acts on a terminal, a page, a picture or a spreadsheet."""

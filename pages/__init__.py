"""The site: the pages of docs/, those that are generated, and the links that leave docs/.

  python -m pages && python -m mkdocs build --strict

The first command writes what the second one builds to build/docs. It needs no MkDocs, so that
another builder of the same Markdown can take its place.
"""

"""Whatever a user's configs and files hold: it works, or a UserError says what is wrong.

``pytest tests/fuzz`` tries the same cases each time. For many more, of other seeds each time, and
with what was found kept in ``.hypothesis`` and tried first:

    pytest tests/fuzz --hypothesis-profile=long -n 2 --timeout=0
"""

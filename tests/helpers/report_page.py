"""The report's page in headless Chromium, used as its reader uses it."""

from __future__ import annotations

from typing import Any


class Page:
    """One data set's browser on the open page, as its reader uses it."""

    def __init__(self, driver: Any, root: str) -> None:
        self.driver, self.root = driver, root

    def run(self, script: str, *given: Any) -> Any:
        """What a script returns; `root` is the data set's section."""
        found = f"const root = document.getElementById('{self.root}'); {script}"
        return self.driver.execute_script(found, *given)

    def set(self, **fields: str) -> Page:
        """Clear all, then set fields of the form as a hand would."""
        self.click("[data-clear]")
        for name, value in fields.items():
            self.run(
                "const field = root.querySelector('form').elements[arguments[0]];"
                "field.type === 'checkbox' ? field.checked = true : field.value = arguments[1];"
                "field.dispatchEvent(new Event('input', { bubbles: true }));",
                name,
                value,
            )
        return self

    def click(self, selector: str) -> None:
        self.run("root.querySelector(arguments[0]).click()", selector)

    @property
    def ids(self) -> list[str]:
        """Of all cards, page after page; no page has more than the window holds."""
        pages = self.run(
            "const on = root.querySelector('[data-turn=\"1\"]'), found = [];"
            "for (;;) {"
            "  found.push([...root.querySelectorAll('.ex-card')].map((card) => card.dataset.id));"
            "  if (on.disabled) return found;"
            "  on.click();"
            "}"
        )
        assert all(len(ids) == 48 for ids in pages[:-1])
        return [name for ids in pages for name in ids]

    @property
    def count(self) -> str:
        return self.run("return root.querySelector('output').textContent")

    @property
    def focused(self) -> str | None:
        return self.driver.execute_script("return document.activeElement.dataset.id")

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    @property
    def opened(self) -> str | None:
        """The title of the open dialog."""
        return self.run(
            "const dialog = root.querySelector('dialog');"
            "return dialog.open ? dialog.querySelector('h4').textContent : null"
        )

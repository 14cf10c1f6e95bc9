"""How the skew expectations are told in Data Docs: a sentence, an observed value, and the entities that differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from great_expectations.expectations.expectation import _style_row_condition, render_suite_parameter_string
from great_expectations.render import (
    LegacyDiagnosticRendererType,
    LegacyRendererType,
    RenderedStringTemplateContent,
    RenderedTableContent,
)
from great_expectations.render.renderer.renderer import renderer
from great_expectations.render.renderer_configuration import RendererConfiguration, RendererValueType
from great_expectations.render.util import parse_row_condition_string

_OF_SAMPLES = ("offline", "online", "moment", "lag_seconds", "cause")


class RendersSkew:
    """The renderers of a skew expectation, from its ``sentence`` and its ``observed``. To be named before GX's base."""

    @classmethod
    def sentence(cls, arguments: Mapping[str, Any]) -> str:
        """What is expected, as GX's template: ``$name`` stands for an argument."""
        raise NotImplementedError

    @classmethod
    def observed(cls, result: Mapping[str, Any]) -> str:
        """What was seen, from a result that has an observed value."""
        raise NotImplementedError

    @classmethod
    def told(cls, kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The sentence for these arguments, as a template, and what its names stand for."""
        fields: Mapping[str, Any] = cls.__fields__  # type: ignore[attr-defined]
        arguments = {name: kwargs.get(name, field.default) for name, field in fields.items()}
        texts = {name: value for name, value in arguments.items() if isinstance(value, str)}
        numbers = {name: value for name, value in arguments.items() if isinstance(value, int | float)}
        shares = {f"{name}_percent": f"{100 * value:.4g}" for name, value in numbers.items()}
        return cls.sentence(arguments), texts | {name: f"{value:,.10g}" for name, value in numbers.items()} | shares

    @classmethod
    def _prescriptive_template(cls, renderer_configuration: RendererConfiguration) -> RendererConfiguration:
        template, params = cls.told(renderer_configuration.kwargs)
        for name, value in params.items():
            renderer_configuration.add_param(name=name, param_type=RendererValueType.STRING, value=str(value))
        renderer_configuration.template_str = template
        return renderer_configuration

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)  # type: ignore[untyped-decorator]
    @render_suite_parameter_string  # type: ignore[untyped-decorator]
    def _prescriptive_renderer(
        cls, configuration: Any = None, result: Any = None, runtime_configuration: Any = None, **_: Any
    ) -> list[RenderedStringTemplateContent]:
        configuration = configuration or (result.expectation_config if result else None)
        kwargs = configuration.kwargs if configuration else {}
        template, params = cls.told(kwargs)
        styling = (runtime_configuration or {}).get("styling")
        if kwargs.get("row_condition") is not None:
            condition = parse_row_condition_string(kwargs["row_condition"])
            template, styling = _style_row_condition(condition, template[0].lower() + template[1:], params, styling)
        content = {"template": template, "params": params, "styling": styling}
        return [RenderedStringTemplateContent(content_block_type="string_template", string_template=content)]

    @classmethod
    @renderer(renderer_type=LegacyDiagnosticRendererType.OBSERVED_VALUE)  # type: ignore[untyped-decorator]
    def _diagnostic_observed_value_renderer(
        cls, configuration: Any = None, result: Any = None, runtime_configuration: Any = None, **_: Any
    ) -> RenderedStringTemplateContent:
        del configuration, runtime_configuration
        return _text(cls._seen(result))

    @classmethod
    def _get_observed_value_from_evr(cls, result: Any) -> str:
        return cls._seen(result)

    @classmethod
    def _seen(cls, result: Any) -> str:
        found = result.result if result is not None else None
        if not found:
            return "--"
        if found.get("inconclusive"):
            return f"not judged: {found['inconclusive']}"
        return cls.observed(found)

    @classmethod
    @renderer(renderer_type=LegacyDiagnosticRendererType.UNEXPECTED_TABLE)  # type: ignore[untyped-decorator]
    def _diagnostic_unexpected_table_renderer(
        cls, configuration: Any = None, result: Any = None, runtime_configuration: Any = None, **_: Any
    ) -> list[RenderedTableContent] | None:
        """The entities that differ, with both values."""
        del configuration, runtime_configuration
        samples = (result.result or {}).get("samples") if result is not None and not result.success else None
        if not samples:
            return None
        keys = list(samples[0]["entity"])
        others = [name for name in _OF_SAMPLES if name in samples[0]]
        rows = [[_text(row["entity"][key]) for key in keys] + [_text(row[name]) for name in others] for row in samples]
        return [
            RenderedTableContent(
                content_block_type="table",
                table=rows,
                header_row=[_text(name) for name in (*keys, *others)],
                styling={"body": {"classes": ["table-bordered", "table-sm", "mt-3"]}},
            )
        ]


def _text(value: Any) -> RenderedStringTemplateContent:
    """A value as text: GX writes a bare string into the page as markup, a parameter it escapes."""
    params = {"value": "null" if value is None else str(value)}
    template = {"template": "$value", "params": params, "styling": {"params": {"value": {"classes": []}}}}
    return RenderedStringTemplateContent(content_block_type="string_template", string_template=template)

"""Put the engine's config files behind the project's, whose files win over the engine's."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class EngineConfigs(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from ablab.project import ENGINE_CONF

        search_path.append("ablab", f"file://{ENGINE_CONF}")

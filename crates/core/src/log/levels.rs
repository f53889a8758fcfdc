//! Which events are wanted: a level a namespace, and for what lies inside it.

use std::collections::BTreeMap;

use tracing::level_filters::LevelFilter;

/// Levels by namespace.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    default: LevelFilter,
    own: BTreeMap<String, LevelFilter>,
}

impl Levels {
    pub(super) fn new(default: LevelFilter) -> Self {
        Self { default, own: BTreeMap::new() }
    }

    /// Sets the level of a namespace, or the default if it is empty.
    pub(super) fn set(&mut self, namespace: &str, level: LevelFilter) {
        if namespace.is_empty() {
            self.default = level;
        } else {
            self.own.insert(namespace.to_owned(), level);
        }
    }

    /// The level of the innermost namespace around `target` that has one.
    pub(super) fn of(&self, target: &str) -> LevelFilter {
        let mut namespace = target;
        loop {
            if let Some(level) = self.own.get(namespace) {
                return *level;
            }
            match namespace.rfind(['.', ':']) {
                Some(end) => namespace = namespace[..end].trim_end_matches(':'),
                None => return self.default,
            }
        }
    }

    /// What is more detailed than this is wanted nowhere.
    pub(super) fn most(&self) -> LevelFilter {
        self.own.values().copied().fold(self.default, LevelFilter::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_namespace_decides() {
        let mut levels = Levels::new(LevelFilter::INFO);
        levels.set("shop", LevelFilter::WARN);
        levels.set("shop::till", LevelFilter::TRACE);
        levels.set("shop::till.paper", LevelFilter::OFF);
        for (target, level) in [
            ("shop", LevelFilter::WARN),
            ("shop::hats::red", LevelFilter::WARN),
            ("shop.hats", LevelFilter::WARN),
            ("shop::till", LevelFilter::TRACE),
            ("shop::till::drawer.left", LevelFilter::TRACE),
            ("shop::till.paper", LevelFilter::OFF),
            ("shop::till.paper::roll", LevelFilter::OFF),
            ("shop::tills", LevelFilter::WARN),
            ("shopping", LevelFilter::INFO),
            ("", LevelFilter::INFO),
            ("::", LevelFilter::INFO),
            ("..", LevelFilter::INFO),
        ] {
            assert_eq!(levels.of(target), level, "{target}");
        }
        assert_eq!(levels.most(), LevelFilter::TRACE);
        levels.set("", LevelFilter::ERROR);
        assert_eq!(levels.of("elsewhere"), LevelFilter::ERROR);
    }
}

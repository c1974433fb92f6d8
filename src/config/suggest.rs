//! "Did you mean": the nearest known name to a misspelt one.
//!
//! Rule: a suggestion is at most two edits away or shares a prefix; otherwise there is none.

/// Picks the closest of `known` to `word`; `None` when nothing is close.
pub(super) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = normalised(word);
    let allowed = match word.chars().count() {
        0..=2 => 0,
        3 => 1,
        _ => 2,
    };
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let plain = normalised(candidate);
        let distance = distance(&word, &plain);
        let is_prefix = word.len() >= 3 && plain.len() >= 3 && (plain.starts_with(&word) || word.starts_with(&plain));
        // Half of a short word changed is another word, unless it still begins alike.
        let is_other = distance == 2 && word.len() <= 4 && word.as_bytes().first() != plain.as_bytes().first();
        let rank = if distance <= allowed && !is_other {
            distance
        } else if is_prefix {
            3
        } else {
            continue;
        };
        if best.is_none_or(|(other, _)| rank < other) {
            best = Some((rank, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn normalised(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

/// The Levenshtein distance in characters.
pub(super) fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut previous = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&right) {
            let changed = diagonal + usize::from(a != *b);
            diagonal = *cell;
            *cell = changed.min(previous + 1).min(diagonal + 1);
            previous = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_edits() {
        for (left, right, expected) in
            [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("api_keey", "api_key", 1), ("ab", "ba", 2)]
        {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        assert_eq!(closest("api_keey", ["kind", "api_key", "base_url"]), Some("api_key"));
        assert_eq!(closest("api-key", ["api_key"]), Some("api_key"));
        assert_eq!(closest("open", ["openai", "anthropic"]), Some("openai"));
        assert_eq!(closest("zebra", ["openai", "anthropic"]), None);
        assert_eq!(closest("b", ["a"]), None);
        assert_eq!(closest("naem", ["name"]), Some("name"));
        assert_eq!(closest("NOPE", ["HOME"]), None);
    }
}

//! Rust source taken apart into words of code and string literals, so that a rule about code is not fooled by a comment
//! or a message. Upholds: line numbers stay those of the file. Not here: parsing; words are all the rules need.

/// One file, without its comments.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RustSource {
    /// Identifiers, keywords and single punctuation marks, in order.
    pub(crate) words: Vec<Word>,
    /// String literals of any kind, without quotes, escapes left as written.
    pub(crate) literals: Vec<Word>,
}

/// A piece of source and the line it starts on, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl RustSource {
    /// Takes a file apart. Never fails: what does not lex is the compiler's to report.
    pub(crate) fn read(text: &str) -> Self {
        let mut reader = Reader { rest: text.chars().collect(), at: 0, line: 1, source: Self::default() };
        while reader.at < reader.rest.len() {
            reader.step();
        }
        reader.source
    }

    /// The lines on which these words stand one after the other.
    pub(crate) fn lines_of(&self, sequence: &[&str]) -> Vec<usize> {
        let hits = self.words.windows(sequence.len());
        let hits = hits.filter(|window| window.iter().map(|word| word.text.as_str()).eq(sequence.iter().copied()));
        hits.map(|window| window[0].line).collect()
    }

    /// True when the word stands anywhere in the code.
    pub(crate) fn has_word(&self, text: &str) -> bool {
        self.words.iter().any(|word| word.text == text)
    }
}

struct Reader {
    rest: Vec<char>,
    at: usize,
    line: usize,
    source: RustSource,
}

impl Reader {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn take(&mut self) -> char {
        let taken = self.peek(0);
        self.at += 1;
        if taken == '\n' {
            self.line += 1;
        }
        taken
    }

    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => {
                while self.at < self.rest.len() && self.peek(0) != '\n' {
                    self.take();
                }
            }
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(None),
            ('\'', _) => self.quote(),
            (first, _) if first.is_alphanumeric() || first == '_' => self.word(),
            (first, _) => {
                let line = self.line;
                self.take();
                if !first.is_whitespace() {
                    self.source.words.push(Word { line, text: first.to_string() });
                }
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.rest.len() {
            match (self.take(), self.peek(0)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth = depth.saturating_sub(1),
                _ => continue,
            }
            self.take();
            if depth == 0 {
                return;
            }
        }
    }

    /// A literal, from its opening quote. `hashes` is the number of `#` of a raw one, which has no escapes.
    fn string(&mut self, hashes: Option<usize>) {
        let line = self.line;
        let mut text = String::new();
        self.take();
        while self.at < self.rest.len() {
            let taken = self.take();
            if taken == '\\' && hashes.is_none() {
                text.push(taken);
                text.push(self.take());
            } else if taken == '"' && (0..hashes.unwrap_or(0)).all(|ahead| self.peek(ahead) == '#') {
                self.at += hashes.unwrap_or(0);
                break;
            } else {
                text.push(taken);
            }
        }
        self.source.literals.push(Word { line, text });
    }

    /// A character literal or a lifetime: `'x'` and `'\n'` close, `'a` does not.
    fn quote(&mut self) {
        self.take();
        if self.peek(0) == '\\' {
            self.take();
            self.take();
            while self.at < self.rest.len() && self.take() != '\'' {}
        } else if self.peek(1) == '\'' {
            self.at += 2;
        }
    }

    fn word(&mut self) {
        let line = self.line;
        let mut text = String::new();
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            text.push(self.take());
        }
        let hashes = (0..).take_while(|ahead| self.peek(*ahead) == '#').count();
        match text.as_str() {
            "r" | "br" | "cr" if self.peek(hashes) == '"' => {
                self.at += hashes;
                self.string(Some(hashes));
            }
            "b" | "c" if self.peek(0) == '"' => self.string(None),
            _ => self.source.words.push(Word { line, text }),
        }
    }
}

#[test]
fn comments_and_literals_are_kept_apart_from_code() {
    let source = RustSource::read(
        "//! sqlx\nfn a<'x>(c: char) { /* one /* two */ sqlx */ c == '\"' || c == '\\''; }\nlet s = b\"q\\\"q\"; r#\"raw \"x\"\"#;",
    );
    assert!(!source.has_word("sqlx"));
    assert_eq!(source.lines_of(&["let", "s"]), [3]);
    let literals: Vec<_> = source.literals.iter().map(|word| (word.line, word.text.as_str())).collect();
    assert_eq!(literals, [(3, "q\\\"q"), (3, "raw \"x\"")]);
}

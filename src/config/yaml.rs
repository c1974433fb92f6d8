//! YAML text to a [`Node`] tree with the place of every key and value.
//!
//! Rule: nothing is guessed. Duplicate keys, tags, merge keys and second documents are errors; scalars stay text.
//! Aliases are expanded up to a fixed number of nodes, so that a small file cannot become a large tree.

use super::decoder::Findings;
use super::mask;
use super::node::{Entry, Node, Source, Value};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError};
use std::collections::BTreeMap;

/// The most nodes a file may have, aliases expanded.
const MAX_NODES: usize = 200_000;
/// The deepest nesting that is read.
const MAX_DEPTH: usize = 32;

/// Parses the file of `findings`. `None` when it is not YAML at all; what is wrong is among the findings.
pub(super) fn parse_file(findings: &mut Findings) -> Option<Node> {
    let original = findings.file().text().to_owned();
    let mut text = original.clone();
    loop {
        let result = Builder::new(&text, &original, None, findings).document();
        match result {
            Ok(root) => {
                findings.file_mut().hide(mask::secret_ranges(&root, &original));
                return Some(root);
            }
            Err(error) => {
                findings.file_mut().hide(mask::secret_ranges_of_broken(&original));
                let Some((start, end)) = unquoted_reference(&text, &error) else {
                    syntax_error(&error, findings);
                    return None;
                };
                let reference = text.get(start..end).unwrap_or("").to_owned();
                let source = Source::File(findings.file().span(start, end));
                findings
                    .error("E0005", "", &source, format!("{reference} must be quoted inside {{ }} and [ ]"))
                    .label(format!("write \"{reference}\""));
                // Read on as if it had been quoted: same length, so that every place stays right.
                text = blank_braces(&text, start, end);
            }
        }
    }
}

/// Parses the value of a variable or a flag that is written as a list or a map (JSON is YAML).
pub(super) fn parse_value(text: &str, source: &Source, findings: &mut Findings) -> Result<Node, String> {
    Builder::new(text, text, Some(source), findings).document().map_err(|error| error.kind().to_string())
}

fn blank_braces(text: &str, start: usize, end: usize) -> String {
    let reference = text.get(start..end).unwrap_or("");
    let blanked: String =
        reference.chars().map(|c| if c.is_ascii() && !c.is_ascii_alphanumeric() { '_' } else { c }).collect();
    [text.get(..start).unwrap_or(""), &blanked, text.get(end..).unwrap_or("")].concat()
}

/// Finds the `${...}` that the scanner stopped at, because `{` begins a map there.
fn unquoted_reference(text: &str, error: &ScanError) -> Option<(usize, usize)> {
    let at = error.marker().byte_offset()?;
    if !matches!(error.kind(), ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator) {
        return None;
    }
    let start = at.checked_sub(1)?;
    let rest = text.get(start..)?;
    let end = rest.starts_with("${").then(|| rest.find('}'))??;
    let is_one_line = !rest.get(..end)?.contains('\n');
    is_one_line.then_some((start, start + end + 1))
}

fn syntax_error(error: &ScanError, findings: &mut Findings) {
    let at = error.marker().byte_offset().unwrap_or(0);
    let source = Source::File(findings.file().span(at, at + 1));
    match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabAtBlockScalarStart => {
            findings.error("E0003", "", &source, "YAML is indented with spaces, here is a tab").label("use spaces");
        }
        ErrorKind::MappingValueNotAllowed => {
            findings
                .error("E0002", "", &source, "a second `:` on this line, or a wrong indentation")
                .help("quote a value that contains `: ` or ends in `:`, such as \"sqlite::memory:\"");
        }
        ErrorKind::UnexpectedCharacter { character } => {
            let message = format!("a value cannot begin with `{character}`");
            findings.error("E0002", "", &source, message).help("put the value in quotes");
        }
        ErrorKind::Custom(message) => {
            let message = message.clone();
            findings.error("E0006", "", &source, message);
        }
        kind => {
            let message = format!("not valid YAML: {kind}");
            findings.error("E0002", "", &source, message);
        }
    }
}

struct Builder<'t, 'f> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    text: &'t str,
    original: &'t str,
    fixed_source: Option<&'t Source>,
    findings: &'f mut Findings,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

type Step<'t> = (Event<'t>, granit_parser::Span);

impl<'t, 'f> Builder<'t, 'f> {
    fn new(text: &'t str, original: &'t str, fixed_source: Option<&'t Source>, findings: &'f mut Findings) -> Self {
        let parser = Parser::new_from_str(text);
        Self { parser, text, original, fixed_source, findings, anchors: BTreeMap::new(), nodes: 0 }
    }

    fn next(&mut self) -> Result<Option<Step<'t>>, ScanError> {
        self.parser.next_event().transpose()
    }

    /// Reads the one document; an empty one is an empty map.
    fn document(mut self) -> Result<Node, ScanError> {
        // Whole first: the findings of a tree that is then thrown away would be told twice.
        for event in Parser::new_from_str(self.text) {
            event?;
        }
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    return Err(ScanError::new(span.start, "a second YAML document: one file holds one configuration"));
                }
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        let source = self.fixed_source.cloned().unwrap_or_else(|| Source::File(self.findings.file().span(0, 0)));
        Ok(root.unwrap_or_else(|| Node::empty_map(source)))
    }

    fn source(&self, start: usize, end: usize) -> Source {
        match self.fixed_source {
            Some(source) => source.clone(),
            None => Source::File(self.findings.file().span(start, end)),
        }
    }

    fn node(&mut self, event: Event<'t>, span: granit_parser::Span, depth: usize) -> Result<Node, ScanError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err(ScanError::new(span.start, "too large or too deeply nested to be a configuration"));
        }
        let range = span.byte_range().unwrap_or(0..0);
        let source = self.source(range.start, range.end);
        let (value, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => (self.scalar(&text, style, range), anchor, tag),
            Event::SequenceStart(_, anchor, tag) => (self.sequence(depth)?, anchor, tag),
            Event::MappingStart(_, anchor, tag) => (self.mapping(depth)?, anchor, tag),
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned();
                let node = node.ok_or_else(|| ScanError::new(span.start, "an alias inside its own anchor"))?;
                self.nodes += count(&node);
                return Ok(Node { value: node.value, source });
            }
            _ => return Err(ScanError::new(span.start, "an unexpected YAML element")),
        };
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            let message = format!("YAML tags such as `{}` are not used here", tag.original());
            return Err(ScanError::new(span.start, message));
        }
        let node = Node { value, source };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn scalar(&self, text: &str, style: ScalarStyle, range: std::ops::Range<usize>) -> Value {
        if style != ScalarStyle::Plain {
            return Value::Scalar(text.to_owned());
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Value::Null,
            // Where an unquoted reference was blanked out for the parser, the original says what was written.
            _ if text.contains('_') => match self.original.get(range) {
                Some(raw) if raw.contains("${") => Value::Scalar(raw.to_owned()),
                _ => Value::Scalar(text.to_owned()),
            },
            _ => Value::Scalar(text.to_owned()),
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, ScanError> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, span, depth + 1)?);
        }
        Ok(Value::List(items))
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, ScanError> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let key_node = self.node(event, span, depth + 1)?;
            let Value::Scalar(key) = key_node.value else {
                return Err(ScanError::new(span.start, "a key must be plain text"));
            };
            if key == "<<" {
                return Err(ScanError::new(span.start, "merge keys (`<<`) are not used here: repeat the settings"));
            }
            let Some((event, span)) = self.next()? else { break };
            let node = self.node(event, span, depth + 1)?;
            match entries.iter().find(|entry| entry.key == key) {
                None => entries.push(Entry { key, key_source: key_node.source, node }),
                Some(first) => duplicate(self.findings, &key, &key_node.source, &first.key_source),
            }
        }
        Ok(Value::Map(entries))
    }
}

fn duplicate(findings: &mut Findings, key: &str, source: &Source, first: &Source) {
    let finding = findings.error("E0004", key, source, format!("`{key}` is set twice"));
    if let Source::File(span) = first {
        finding.label(format!("first set at line {}", span.line));
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Scalar(_) => 1,
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|entry| count(&entry.node)).sum::<usize>(),
    }
}

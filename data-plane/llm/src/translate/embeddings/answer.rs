//! The answers of the calls, and the one answer that they make.
//!
//! Rule: a call that does not bring one vector of numbers for each of its texts is no answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use helix_shared::usage::TokenUsage;

use super::{EmbeddedCall, EmbeddingForm, EmbeddingPlan};
use crate::json::{Kind, Reader, Result};
use crate::translate::TranslateError;
use crate::usage::read_counter;

/// Reads one answer.
struct Call<'a> {
    reader: Reader<'a>,
    body: &'a Bytes,
    vectors: Vec<Bytes>,
    tokens: Option<u64>,
}

impl EmbeddingPlan {
    /// How many calls there are.
    pub fn calls(&self) -> usize {
        self.counts.len()
    }

    /// Reads the answer to one call; `counted`: input tokens by a header.
    ///
    /// # Errors
    /// `upstream_disconnected` when it is not what the backend's form says.
    pub fn read(
        &self,
        call: usize,
        body: &Bytes,
        counted: Option<u64>,
    ) -> std::result::Result<EmbeddedCall, TranslateError> {
        let mut read = Call { reader: Reader::new(body), body, vectors: Vec::new(), tokens: None };
        read.document(self.form).map_err(|_| TranslateError::UnreadableAnswer)?;
        let is_whole = self.counts.get(call) == Some(&read.vectors.len()) && read.vectors.iter().all(is_list);
        if !is_whole {
            return Err(TranslateError::UnreadableAnswer);
        }
        let tokens = read.tokens.or(counted);
        let usage = tokens.map(|input_tokens| TokenUsage { input_tokens, ..TokenUsage::default() });
        Ok(EmbeddedCall { vectors: read.vectors, usage })
    }

    /// Joins the calls to the client's answer; `input_tokens` as they are billed.
    ///
    /// # Errors
    /// `upstream_disconnected` when a vector holds what is no number.
    pub fn join(&self, calls: &[EmbeddedCall], input_tokens: u64) -> std::result::Result<Bytes, TranslateError> {
        let vectors = calls.iter().flat_map(|call| &call.vectors);
        let size: usize = vectors.clone().map(|vector| vector.len() + 64).sum();
        let mut out = Vec::with_capacity(size + 128);
        out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
        for (index, vector) in vectors.enumerate() {
            let comma = if index > 0 { "," } else { "" };
            out.extend_from_slice(
                format!("{comma}{{\"object\":\"embedding\",\"index\":{index},\"embedding\":").as_bytes(),
            );
            if self.is_base64 {
                out.push(b'"');
                out.extend_from_slice(STANDARD.encode(floats(vector)?).as_bytes());
                out.push(b'"');
            } else {
                out.extend_from_slice(vector);
            }
            out.push(b'}');
        }
        let model = serde_json::to_string(&self.model).unwrap_or_default();
        let usage = format!("\"usage\":{{\"prompt_tokens\":{input_tokens},\"total_tokens\":{input_tokens}}}");
        out.extend_from_slice(format!("],\"model\":{model},{usage}}}").as_bytes());
        Ok(Bytes::from(out))
    }
}

impl Call<'_> {
    fn document(&mut self, form: EmbeddingForm) -> Result<()> {
        let mut members = self.reader.enter_object()?;
        while let Some(name) = self.reader.next_field(&mut members)? {
            match (form, &*name) {
                (EmbeddingForm::Gemini, b"embeddings") => self.each("values")?,
                (EmbeddingForm::Gemini, b"usageMetadata") => self.count("promptTokenCount")?,
                (EmbeddingForm::Predict { .. }, b"predictions") => self.predictions()?,
                (EmbeddingForm::Titan(_), b"embedding") => self.vector()?,
                (EmbeddingForm::Titan(_), b"inputTextTokenCount") => self.tokens = read_counter(&mut self.reader)?,
                (EmbeddingForm::Cohere { .. }, b"embeddings") => self.by_type()?,
                (EmbeddingForm::Nova, b"embeddings") => self.each("embedding")?,
                (EmbeddingForm::Ollama, b"embeddings") => self.list()?,
                (EmbeddingForm::Ollama, b"prompt_eval_count") => self.tokens = read_counter(&mut self.reader)?,
                (EmbeddingForm::Floats { .. }, b"data") => self.each("embedding")?,
                (EmbeddingForm::Floats { .. }, b"usage") => self.count("prompt_tokens")?,
                _ => self.reader.pass()?,
            }
        }
        self.reader.end()
    }

    /// Keeps the value at the current position as a vector.
    fn vector(&mut self) -> Result<()> {
        let span = self.reader.skip()?;
        self.vectors.push(self.body.slice(span));
        Ok(())
    }

    /// Reads a list of vectors.
    fn list(&mut self) -> Result<()> {
        let mut items = self.reader.enter_array()?;
        while self.reader.next_item(&mut items)? {
            self.vector()?;
        }
        Ok(())
    }

    /// Reads a list of objects that hold a vector each, in the order of their `index` where they have one.
    fn each(&mut self, field: &str) -> Result<()> {
        let mut found: Vec<(u64, Bytes)> = Vec::new();
        let mut items = self.reader.enter_array()?;
        while self.reader.next_item(&mut items)? {
            let mut index = None;
            let mut members = self.reader.enter_object()?;
            while let Some(name) = self.reader.next_field(&mut members)? {
                if &*name == field.as_bytes() {
                    self.vector()?;
                } else if &*name == b"index" {
                    index = read_counter(&mut self.reader)?;
                } else {
                    self.reader.pass()?;
                }
            }
            let place = index.unwrap_or_else(|| u64::try_from(found.len()).unwrap_or(u64::MAX));
            found.extend(self.vectors.pop().map(|vector| (place, vector)));
        }
        found.sort_by_key(|(place, _)| *place);
        self.vectors = found.into_iter().map(|(_, vector)| vector).collect();
        Ok(())
    }

    /// Reads vectors that stand under the name of their type, or alone.
    fn by_type(&mut self) -> Result<()> {
        if self.reader.kind()? == Kind::Array {
            return self.list();
        }
        let mut members = self.reader.enter_object()?;
        while let Some(name) = self.reader.next_field(&mut members)? {
            if &*name == b"float" { self.list()? } else { self.reader.pass()? }
        }
        Ok(())
    }

    fn predictions(&mut self) -> Result<()> {
        let mut items = self.reader.enter_array()?;
        while self.reader.next_item(&mut items)? {
            let mut members = self.reader.enter_object()?;
            while let Some(name) = self.reader.next_field(&mut members)? {
                if &*name != b"embeddings" {
                    self.reader.pass()?;
                    continue;
                }
                let mut inner = self.reader.enter_object()?;
                while let Some(name) = self.reader.next_field(&mut inner)? {
                    match &*name {
                        b"values" => self.vector()?,
                        b"statistics" => {
                            let before = self.tokens.take();
                            self.count("token_count")?;
                            self.tokens = self.tokens.map(|count| count.saturating_add(before.unwrap_or(0)));
                        }
                        _ => self.reader.pass()?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads a counter inside of an object.
    fn count(&mut self, field: &str) -> Result<()> {
        if self.reader.kind()? != Kind::Object {
            return self.reader.pass();
        }
        let mut members = self.reader.enter_object()?;
        while let Some(name) = self.reader.next_field(&mut members)? {
            if &*name == field.as_bytes() {
                self.tokens = read_counter(&mut self.reader)?;
            } else {
                self.reader.pass()?;
            }
        }
        Ok(())
    }
}

/// Whether a value is a flat list of numbers.
fn is_list(vector: &Bytes) -> bool {
    let mut reader = Reader::new(vector);
    let read = reader.each_item(|reader| reader.number().map(drop));
    vector.first() == Some(&b'[') && read.is_ok()
}

/// The numbers of a list, as single floats in the order of a small machine.
fn floats(vector: &Bytes) -> std::result::Result<Vec<u8>, TranslateError> {
    let inner = vector.get(1..vector.len().saturating_sub(1)).unwrap_or_default();
    let text = std::str::from_utf8(inner).map_err(|_| TranslateError::UnreadableAnswer)?;
    let mut out = Vec::with_capacity(text.len() / 2);
    for number in text.split(',').map(str::trim).filter(|number| !number.is_empty()) {
        let number: f32 = number.parse().map_err(|_| TranslateError::UnreadableAnswer)?;
        out.extend_from_slice(&number.to_le_bytes());
    }
    Ok(out)
}

//! `docs/models.md`, made of the table of models.
//!
//! Rule: the document is never edited by hand; this test fails when it does not say what the table says, and names the
//! command that writes it.

use super::*;
use std::path::Path;

const UPDATE: &str = "HELIX_UPDATE_DOCS=1 cargo test -p helix-shared models_document";

const HEAD: &str = "\
# Models

<!-- Made of shared/src/catalog/models.tsv by a test. Do not edit; run: HELIX_UPDATE_DOCS=1 cargo test -p helix-shared models_document -->

What the gateway knows that a model can do, and what it does with that before a request costs anything:

- An image, a sound or a tool for a model that takes none, a longer answer than it writes, and a text that cannot fit into
  its context are refused with 400 (`unsupported_by_model`, `context_length_exceeded`), or go to the next backend of the route
  that takes them.
- What a model **refuses** although its API knows it is left out and named in `x-helix-dropped-params`: sampling parameters,
  and a choice of tools that forces a call, which becomes `auto`. A route with `params: strict` refuses such a request instead.
- `max_tokens` becomes `max_completion_tokens` for models that refuse the older name, and the other way round where a provider
  knows only that one.

A model that is not listed, or of which nothing is said here, is its provider's to judge. Names with a date are found under
the name without it. Prices stand in the table that this one is made of.
";

fn render() -> String {
    let catalog = Catalog::bundled();
    let mut text = format!("{HEAD}\nAs of {}.\n", catalog.as_of());
    for (kind, models) in &catalog.by_kind {
        let chats: Vec<&CatalogModel> = models.values().filter(|model| model.mode == Mode::Chat).collect();
        if chats.is_empty() {
            continue;
        }
        text += &format!("\n## {kind}\n\n| model | context | longest answer | can | refuses | source |\n");
        text += "| --- | --- | --- | --- | --- | --- |\n";
        for model in chats {
            let count = |tokens: Option<u64>| tokens.map_or_else(String::new, |tokens| tokens.to_string());
            let can: Vec<&str> = model.capabilities.iter().map(Capability::as_str).collect();
            let refuses: Vec<&str> =
                Refusal::ALL.iter().filter(|it| model.refuses.has(**it)).map(|it| it.as_str()).collect();
            text += &format!(
                "| `{}` | {} | {} | {} | {} | {} |\n",
                model.id,
                count(model.max_input_tokens),
                count(model.max_output_tokens),
                can.join(" "),
                refuses.join(" "),
                model.refuses.source,
            );
        }
    }
    text
}

#[test]
fn the_models_document_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/models.md");
    let made = render();
    if std::env::var_os("HELIX_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == made, "docs/models.md is not what the table says; run: {UPDATE}");
}

#[test]
fn what_is_refused_has_a_source() {
    let refusing = Catalog::bundled().all_models().filter(|model| model.refuses != Refusals::default());
    let sources: Vec<&str> = refusing.map(|model| model.refuses.source.as_str()).collect();
    assert!(sources.len() > 20 && !sources.contains(&""));
    let table = |note: &str| {
        let row = format!("openai\ta\tchat\t1\t1{}\ttools\t2026-01-01\t1\tx\ty\t{note}", "\t".repeat(9));
        Catalog::parse(&row).1.into_iter().map(|error| error.problem).collect::<Vec<_>>()
    };
    assert_eq!(table("refuses sampling (x)"), Vec::<String>::new());
    assert_eq!(table("refuses sampling"), ["`refuses sampling` names no source"]);
    assert_eq!(table("refuses sleep (x)"), ["unknown refusal `sleep`"]);
}

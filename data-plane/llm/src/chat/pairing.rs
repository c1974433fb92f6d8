//! Calls of tools and their results, put where every provider wants them.
//!
//! Rule: each call is followed, in the very next turn, by exactly one result, the results first in that turn. A call
//! without a result gets one that says so, a result without a call becomes text, of two results the first counts.

use std::collections::{HashMap, HashSet};

use super::request::{Block, BlockKind, Conversation, Place, Role, Turn};

const NO_RESULT: &str = "no result";

/// Pairs the calls and results of a conversation.
pub(crate) fn pair(conversation: &mut Conversation) {
    // For each assistant turn with calls: its results, in the order they came.
    let mut results: HashMap<usize, Vec<Block>> = HashMap::new();
    let mut latest: HashMap<String, usize> = HashMap::new();
    let mut answered: HashSet<(usize, String)> = HashSet::new();
    for (index, turn) in conversation.turns.iter_mut().enumerate() {
        if turn.role == Role::Assistant {
            for call in turn.calls() {
                latest.insert(call.id.clone(), index);
            }
            continue;
        }
        let mut kept = Vec::with_capacity(turn.blocks.len());
        for block in std::mem::take(&mut turn.blocks) {
            let BlockKind::Result { id, blocks, .. } = &block.kind else {
                kept.push(block);
                continue;
            };
            match latest.get(id) {
                Some(call) => {
                    if answered.insert((*call, id.clone())) {
                        results.entry(*call).or_default().push(block);
                    }
                }
                None => {
                    kept.push(Block::text(format!("[tool result {id}]"), block.place));
                    kept.extend(blocks.iter().cloned());
                }
            }
        }
        turn.blocks = kept;
    }
    place(conversation, results, &mut answered);
}

/// Puts the results behind the turns that asked for them.
fn place(
    conversation: &mut Conversation,
    mut results: HashMap<usize, Vec<Block>>,
    answered: &mut HashSet<(usize, String)>,
) {
    let count = conversation.turns.len();
    let mut placed = Vec::with_capacity(count + 1);
    let mut waiting: Vec<Block> = Vec::new();
    for (index, mut turn) in std::mem::take(&mut conversation.turns).into_iter().enumerate() {
        if !waiting.is_empty() {
            let mut blocks = std::mem::take(&mut waiting);
            if turn.role == Role::User {
                blocks.append(&mut turn.blocks);
                turn.blocks = blocks;
            } else {
                placed.push(Turn::new(Role::User, blocks));
            }
        }
        if turn.role == Role::Assistant {
            waiting = results.remove(&index).unwrap_or_default();
            for call in turn.calls() {
                if answered.insert((index, call.id.clone())) {
                    waiting.push(missing(&call.id));
                }
            }
        }
        placed.push(turn);
    }
    if !waiting.is_empty() {
        placed.push(Turn::new(Role::User, waiting));
    }
    placed.retain(|turn| !turn.blocks.is_empty());
    conversation.turns = placed;
}

fn missing(id: &str) -> Block {
    let place = Place::default();
    let blocks = vec![Block::text(NO_RESULT, place)];
    Block::new(BlockKind::Result { id: id.to_owned(), blocks, is_error: true }, place)
}

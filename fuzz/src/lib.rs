//! What every fuzz target is held to beside not panicking: memory and time in proportion to its input.
//!
//! Rule: no input may cost more than a hundred times its size in memory, or a hundred times what reading it needs in CPU.
//! Small inputs have a floor: what a reader needs for nothing at all.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that a target may hold, whatever the input.
const FLOOR_BYTES: usize = 1 << 20;
/// Bytes that it may hold for each byte of input.
const MOST_TIMES: usize = 100;
/// CPU time that a target may take, whatever the input.
const FLOOR_NS: u64 = 50_000_000;
/// A hundred times what a byte costs in an instrumented build: all targets together walk an input some fifty times.
const NS_PER_BYTE: u64 = 20_000;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads an input and holds the reader to its bounds.
pub fn bounded(data: &[u8], read: impl FnOnce(&[u8])) {
    let held = HELD.load(Ordering::Relaxed);
    PEAK.store(held, Ordering::Relaxed);
    let began_ns = cpu_ns();
    read(data);
    let took_ns = cpu_ns().saturating_sub(began_ns);
    let peak = PEAK.load(Ordering::Relaxed).saturating_sub(held);
    let most_bytes = FLOOR_BYTES + MOST_TIMES * data.len();
    assert!(peak <= most_bytes, "{} bytes of input took {peak} bytes of memory", data.len());
    let most_ns = FLOOR_NS + NS_PER_BYTE * data.len() as u64;
    assert!(took_ns <= most_ns, "{} bytes of input took {took_ns} ns of CPU", data.len());
}

fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists, and `time` is where it may write.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

//! A program of known sites, under the recorder. `tests/matrix.rs` compiles it in every way that changes how a stack is
//! walked or how an address is named.
//!
//! `ANSWERS` has the blocks that each site allocates and frees, and the functions and lines on its stack. A line is
//! named by its mark (`// @name`). The program prints the answers; the test compares them with the command's output.

use std::alloc::{Layout, alloc};
use std::cell::RefCell;
use std::ffi::c_void;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, LazyLock, mpsc};
use std::task::{Context, Poll, Waker};

#[collapse_debuginfo(yes)]
macro_rules! block {
    ($size:expr) => {
        black_box(Vec::<u8>::with_capacity(black_box($size)))
    };
}

mod planted;

#[global_allocator]
static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();

/// The expected figures of a site: blocks and bytes allocated, blocks freed. The expected frames in this file,
/// innermost first, are each a part of the function's name and the mark of its line.
struct Answer {
    blocks: u64,
    bytes: u64,
    freed: u64,
    chain: &'static str,
}

const fn answer(blocks: u64, bytes: u64, freed: u64, chain: &'static str) -> Answer {
    Answer { blocks, bytes, freed, chain }
}

#[rustfmt::skip]
const ANSWERS: &[Answer] = &[
    answer(30, 30 * 1001, 10, "sites::plain@plain  sites::main@main_plain"),
    answer(5, 5 * 1002, 5, "inlined@inlined  host_of_inlined@host_of_inlined  sites::main@main_inlined"),
    answer(4, 4 * 1003, 0, "inlined_deep@inlined_deep  inlined_between@inlined_between  host_of_deep@host_of_deep"),
    answer(3, 3 * 1004, 3, "sites::generic@generic  sites::main@main_generic_u8"),
    answer(6, 6 * 1035, 0, "sites::generic@generic  sites::main@main_generic_array"),
    answer(2, 2 * 1005, 2, "const_generic@const_generic"),
    answer(7, 7 * 1006, 0, "recursive@recursive"),
    answer(3, 3 * 1007, 3, "even@even  odd@odd_calls  even@even_calls"),
    answer(2, 2 * 1008, 0, "closure@closure  calls_closure@calls_closure"),
    answer(8, 8 * 1009, 8, "closure@boxed_closure"),
    answer(9, 9 * 1010, 9, "closure@mapped"),
    answer(4, 4 * 1011, 4, "async_leaf@async_leaf  async_middle@async_middle  async_root@async_root"),
    answer(4, 4 * 1012, 0, "async_resumed@async_resumed"),
    answer(6, 6 * 1013, 2, "Square@object  calls_object@calls_object"),
    answer(2, 2 * 1014, 2, "Round@static_method"),
    answer(3, 3 * 1015, 0, "default_method@default_method"),
    answer(2, 2 * 1016, 2, "drop@in_drop"),
    answer(1, 1017, 0, "panics@panics"),
    answer(1, 1018, 1, "drop@while_unwinding"),
    answer(5, 5 * 1019, 5, "called_back@called_back  calls_back@calls_back  sites::main@main_calls_back"),
    answer(2, 2 * 1020, 0, "called_back_deeper@called_back_deeper  called_back_first@calls_back_again  calls_back_twice@calls_back_twice"),
    answer(9, 9 * 1021, 9, "in_a_thread@in_a_thread"),
    answer(3, 3 * 1022, 3, "in_a_scope@in_a_scope"),
    answer(2, 2 * 1023, 2, "second_entry@second_entry  calls_entry@calls_entry"),
    answer(2, 32 + 64, 2, "grows@grows  grows_in_place@grows_in_place"),
    answer(1, 1025 * 4, 1, "collects@collects"),
    answer(3, 3 * (1024 + 16), 0, "shares@shares"),
    answer(2, 2 * (1032 + 16), 2, "counts@counts"),
    answer(1, 1027, 0, "LOCAL@thread_local"),
    answer(1, 1028, 0, "LAZY@lazy"),
    answer(2, 2 * 1029, 2, "nested::deep::within@within"),
    answer(3, 3 * 1030, 3, "next@next"),
    answer(2, 2 * 1_031_000, 0, "zeroed@zeroed"),
    answer(2, 2 * 1032, 0, "aligned_block@aligned_block"),
    answer(4, 4 * 1033, 4, "realigned@realigned  calls_realigned@calls_realigned"),
    answer(5, 5 * 1034, 5, "made_here@made_here"),
];

fn keep<T>(value: T) {
    std::mem::forget(black_box(value));
}

#[inline(never)]
fn plain() {
    for number in 0..30 {
        let made = block!(1001); // @plain
        if number < 10 { drop(made) } else { keep(made) }
    }
}

#[inline(always)]
fn inlined() {
    for _ in 0..5 {
        drop(block!(1002)); // @inlined
    }
}

#[inline(never)]
fn host_of_inlined() {
    black_box(1);
    inlined(); // @host_of_inlined
    black_box(2);
}

#[inline(always)]
fn inlined_deep() {
    for _ in 0..4 {
        keep(block!(1003)); // @inlined_deep
    }
}

#[inline(always)]
fn inlined_between() {
    black_box(1);
    inlined_deep(); // @inlined_between
    black_box(2);
}

#[inline(never)]
fn host_of_deep() {
    black_box(1);
    inlined_between(); // @host_of_deep
    black_box(2);
}

#[inline(never)]
fn generic<T>(times: usize, is_kept: bool) {
    for _ in 0..times {
        let made = block!(1003 + size_of::<T>()); // @generic
        if is_kept { keep(made) } else { drop(made) }
    }
}

#[inline(never)]
fn const_generic<const N: usize>() {
    for _ in 0..2 {
        drop(block!(1000 + N)); // @const_generic
    }
}

#[inline(never)]
fn recursive(depth: usize) {
    if black_box(depth) > 0 {
        keep(block!(1006)); // @recursive
        recursive(depth - 1);
        black_box(depth);
    }
}

#[inline(never)]
fn even(depth: usize) {
    if black_box(depth) == 0 {
        for _ in 0..3 {
            drop(block!(1007)); // @even
        }
    } else {
        odd(depth - 1); // @even_calls
    }
    black_box(depth);
}

#[inline(never)]
fn odd(depth: usize) {
    black_box(depth);
    even(depth - 1); // @odd_calls
    black_box(!depth);
}

#[inline(never)]
fn calls_closure(closure: impl FnOnce(usize)) {
    black_box(1);
    closure(1008); // @calls_closure
    black_box(2);
}

#[inline(never)]
fn closures() {
    calls_closure(|size| {
        for _ in 0..2 {
            keep(block!(size)); // @closure
        }
    });
    let boxed: Box<dyn Fn()> = Box::new(|| {
        drop(block!(1009)); // @boxed_closure
        black_box(3);
    });
    let boxed = black_box(boxed);
    for _ in 0..8 {
        boxed();
    }
    let lengths = (0..9).map(|number| {
        let made = block!(1010); // @mapped
        made.capacity() + number
    });
    black_box(lengths.sum::<usize>());
}

async fn async_leaf() {
    for _ in 0..4 {
        drop(block!(1011)); // @async_leaf
    }
}

async fn async_middle() {
    black_box(1);
    async_leaf().await; // @async_middle
    black_box(2);
}

async fn async_root() {
    black_box(1);
    async_middle().await; // @async_root
    black_box(2);
}

/// A future that is ready at its second poll.
struct Later(bool);

impl Future for Later {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

async fn async_resumed() {
    for _ in 0..4 {
        Later(false).await;
        keep(block!(1012)); // @async_resumed
    }
}

#[inline(never)]
fn run(future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    while future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        black_box(());
    }
}

trait Shape {
    fn draw(&self);

    #[inline(never)]
    fn default_method(&self) {
        for _ in 0..3 {
            keep(block!(1015)); // @default_method
        }
    }
}

struct Square;
struct Round;

impl Shape for Square {
    #[inline(never)]
    fn draw(&self) {
        for number in 0..6 {
            let made = block!(1013); // @object
            if number < 2 { drop(made) } else { keep(made) }
        }
    }
}

impl Shape for Round {
    #[inline(never)]
    fn draw(&self) {
        for _ in 0..2 {
            drop(block!(1014)); // @static_method
        }
    }
}

#[inline(never)]
fn calls_object(shape: &dyn Shape) {
    black_box(1);
    shape.draw(); // @calls_object
    black_box(2);
}

#[inline(never)]
fn calls_static(shape: &impl Shape) {
    shape.draw();
    shape.default_method();
    black_box(2);
}

struct Dropped;

impl Drop for Dropped {
    #[inline(never)]
    fn drop(&mut self) {
        for _ in 0..2 {
            drop(block!(1016)); // @in_drop
        }
    }
}

struct DroppedWhileUnwinding;

impl Drop for DroppedWhileUnwinding {
    #[inline(never)]
    fn drop(&mut self) {
        drop(block!(1018)); // @while_unwinding
        black_box(4);
    }
}

#[inline(never)]
fn panics() {
    let _dropped = DroppedWhileUnwinding;
    keep(block!(1017)); // @panics
    if cfg!(panic = "unwind") && black_box(true) {
        std::panic::resume_unwind(black_box(Box::new(1)));
    }
}

unsafe extern "C" {
    fn call_back(function: unsafe extern "C" fn(*mut c_void), data: *mut c_void);
    fn call_back_deeper(function: unsafe extern "C" fn(*mut c_void), data: *mut c_void);
}

unsafe extern "C" fn called_back(_: *mut c_void) {
    for _ in 0..5 {
        drop(block!(1019)); // @called_back
    }
}

#[inline(never)]
fn calls_back() {
    // SAFETY: the function takes any pointer.
    unsafe { call_back_deeper(called_back, std::ptr::null_mut()) }; // @calls_back
    black_box(());
}

unsafe extern "C" fn called_back_deeper(_: *mut c_void) {
    for _ in 0..2 {
        keep(block!(1020)); // @called_back_deeper
    }
}

unsafe extern "C" fn called_back_first(data: *mut c_void) {
    // SAFETY: the function takes any pointer.
    unsafe { call_back_deeper(called_back_deeper, data) }; // @calls_back_again
    black_box(());
}

#[inline(never)]
fn calls_back_twice() {
    // SAFETY: the function takes any pointer.
    unsafe { call_back(called_back_first, std::ptr::null_mut()) }; // @calls_back_twice
    black_box(());
}

#[inline(never)]
fn in_a_thread() {
    for _ in 0..9 {
        drop(block!(1021)); // @in_a_thread
    }
}

#[inline(never)]
fn in_a_scope() {
    for _ in 0..3 {
        drop(block!(1022)); // @in_a_scope
    }
}

/// Allocates blocks that another thread frees.
#[inline(never)]
fn made_here(to: &mpsc::SyncSender<Vec<u8>>) {
    for _ in 0..5 {
        let made = block!(1034); // @made_here
        to.send(made).unwrap();
    }
}

#[inline(never)]
fn threads() {
    std::thread::spawn(in_a_thread).join().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(in_a_scope);
    });
    let (to, from) = mpsc::sync_channel(5);
    made_here(&to);
    drop(to);
    std::thread::spawn(move || from.iter().for_each(drop)).join().unwrap();
}

#[inline(never)]
fn first_entry(_: usize) {
    black_box(1);
}

#[inline(never)]
fn second_entry(size: usize) {
    drop(block!(size)); // @second_entry
    black_box(5);
}

#[inline(never)]
fn calls_entry(table: &[fn(usize); 2], number: usize) {
    black_box(1);
    table[black_box(number)](1023); // @calls_entry
    black_box(2);
}

#[inline(always)]
fn grows(list: &mut Vec<u64>) {
    list.push(black_box(7)); // @grows
}

#[inline(never)]
fn grows_in_place() {
    let mut list: Vec<u64> = Vec::new();
    for _ in 0..5 {
        grows(&mut list); // @grows_in_place
        black_box(&mut list);
    }
}

#[inline(never)]
fn collects() {
    let list: Vec<u32> = (0..black_box(1025)).collect(); // @collects
    black_box(list);
}

#[inline(never)]
fn shares() {
    for _ in 0..3 {
        keep(Arc::new(black_box([1u8; 1024]))); // @shares
    }
}

#[inline(never)]
fn counts() {
    for _ in 0..2 {
        drop(black_box(Rc::new(black_box([1u64; 129])))); // @counts
    }
}

thread_local! {
    static LOCAL: RefCell<std::mem::ManuallyDrop<Vec<u8>>> =
        RefCell::new(std::mem::ManuallyDrop::new(block!(1027))); // @thread_local
}

static LAZY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    block!(1028) // @lazy
});

#[inline(never)]
fn statics() {
    LOCAL.with(|local| black_box(local.borrow().len()));
    black_box(LAZY.len());
}

mod nested {
    pub mod deep {
        use std::hint::black_box;

        #[inline(never)]
        pub fn within() {
            for _ in 0..2 {
                drop(block!(1029)); // @within
            }
        }
    }
}

struct Numbers(usize);

impl Iterator for Numbers {
    type Item = usize;

    #[inline(never)]
    fn next(&mut self) -> Option<usize> {
        self.0 = self.0.checked_sub(1)?;
        drop(block!(1030)); // @next
        Some(self.0)
    }
}

#[inline(never)]
fn zeroed() {
    for _ in 0..2 {
        keep(vec![0u8; black_box(1_031_000)]); // @zeroed
    }
}

#[inline(never)]
fn aligned_block() {
    let layout = Layout::from_size_align(1032, 256).unwrap();
    for _ in 0..2 {
        // SAFETY: the layout has a size.
        black_box(unsafe { alloc(black_box(layout)) }); // @aligned_block
    }
}

#[repr(align(128))]
struct Aligned([u8; 128]);

/// The function moves its stack pointer to a multiple of 128 bytes, so its distance to the caller varies.
#[inline(never)]
fn realigned() {
    let aligned = black_box(Aligned([1; 128]));
    drop(block!(1033)); // @realigned
    black_box(&aligned.0);
}

#[inline(never)]
fn calls_realigned(depth: usize) {
    if depth > 0 {
        calls_realigned(depth - 1);
    }
    realigned(); // @calls_realigned
    black_box(depth);
}

/// Prints the answers. Its allocations are in no answer.
#[inline(never)]
fn tell(answers: &[Answer]) {
    for answer in answers {
        println!("answer {} {} {} {}", answer.blocks, answer.bytes, answer.freed, answer.chain);
    }
}

fn main() {
    if std::env::var_os("SITES_PLANTED").is_some() {
        planted::plants(); // @main_plants
        return tell(planted::ANSWERS);
    }
    plain(); // @main_plain
    host_of_inlined(); // @main_inlined
    host_of_deep();
    generic::<u8>(3, false); // @main_generic_u8
    generic::<[u64; 4]>(6, true); // @main_generic_array
    const_generic::<5>();
    recursive(7);
    even(2);
    closures();
    run(async_root());
    run(async_resumed());
    calls_object(black_box(&Square));
    calls_static(black_box(&Round));
    drop(black_box(Dropped));
    let _ = std::panic::catch_unwind(panics);
    calls_back(); // @main_calls_back
    calls_back_twice();
    threads();
    let table = black_box([first_entry as fn(usize), second_entry]);
    calls_entry(&table, 0);
    calls_entry(&table, 1);
    calls_entry(&table, 1);
    grows_in_place();
    collects();
    shares();
    counts();
    statics();
    nested::deep::within();
    black_box(Numbers(3).count());
    zeroed();
    aligned_block();
    calls_realigned(3);
    tell(ANSWERS);
}

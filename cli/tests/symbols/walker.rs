//! A program that prints the return addresses of some of its stacks, and the load addresses of its objects.
//! `tests/symbols.rs` compiles it in several ways. Lines for the test are marked with `// @name`.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::hint::black_box;

unsafe extern "C" {
    fn _Unwind_Backtrace(step: extern "C" fn(*mut c_void, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn dl_iterate_phdr(visit: extern "C" fn(*mut Object, usize, *mut c_void) -> c_int, data: *mut c_void)
    -> c_int;
}

#[repr(C)]
struct Object {
    bias: usize,
    name: *const c_char,
}

extern "C" fn step(context: *mut c_void, data: *mut c_void) -> c_int {
    // SAFETY: `data` is the list that `print` gave.
    unsafe { (*data.cast::<Vec<usize>>()).push(_Unwind_GetIP(context)) };
    0
}

extern "C" fn visit(object: *mut Object, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: the loader gives an object with a name.
    let (bias, name) = unsafe { ((*object).bias, CStr::from_ptr((*object).name)) };
    println!("object {bias:x} {}", name.to_string_lossy());
    0
}

#[inline(never)]
fn print(label: &str) {
    let mut addresses: Vec<usize> = Vec::new();
    // SAFETY: the list outlives the call.
    unsafe { _Unwind_Backtrace(step, (&raw mut addresses).cast()) };
    let addresses: Vec<String> = addresses.iter().map(|address| format!("{address:x}")).collect();
    println!("stack {label} {}", addresses.join(" "));
    black_box(label);
}

#[inline(always)]
fn inner() {
    print("inlined"); // @inner
    black_box(());
}

#[inline(always)]
fn middle() {
    inner(); // @middle
    black_box(());
}

#[inline(never)]
fn outer() {
    middle(); // @outer
    black_box(());
}

#[inline(never)]
fn generic<T: Default>() {
    black_box(T::default());
    print("generic"); // @generic
    black_box(());
}

#[inline(never)]
fn recursive(depth: u32) {
    if depth == 0 {
        print("recursive"); // @recursive
    } else {
        recursive(depth - 1); // @again
    }
    black_box(depth);
}

trait Shape {
    fn draw(&self);
}

struct Square;

impl Shape for Square {
    #[inline(never)]
    fn draw(&self) {
        print("object"); // @object
        black_box(());
    }
}

fn main() {
    outer(); // @main
    generic::<u64>();
    recursive(2);
    black_box(&Square as &dyn Shape).draw();
    let closure = black_box(|| {
        print("closure"); // @closure
        black_box(());
    });
    closure();
    println!("main {:x}", main as fn() as usize);
    // SAFETY: nothing is asked of the visitor.
    unsafe { dl_iterate_phdr(visit, std::ptr::null_mut()) };
    println!("maps\n{}", std::fs::read_to_string("/proc/self/maps").unwrap());
}

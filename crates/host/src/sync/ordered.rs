//! Atomics for the model checker that orders memory as the language allows: its own, made when they are first touched.
//!
//! Who uses it: everything that uses `host::sync::atomic`, when the feature `loom` is on. The kernel cuts tables of atomics
//! from zeroed memory, and the checker wants each to be made. So an atomic here is a number: zero until it is touched, then
//! that of one of the checker's, which start at zero too.
//!
//! Who touches an atomic first makes it, and the checker fails an execution in which another thread gets at it without an
//! order behind that. So tests touch what they have of a table before they start threads.

use std::sync::Mutex;
pub use std::sync::atomic::Ordering;
use std::sync::atomic::{AtomicU32 as Number, Ordering::Relaxed};

/// The checker's atomics of one type, in one execution.
type Made<T> = Mutex<Vec<std::sync::Arc<T>>>;

/// The atomic that is named by `number`, made with `value` if it is not there yet. The checker runs the threads of an
/// execution by turns and does not switch in here.
fn find<T>(made: &Made<T>, number: &Number, value: impl FnOnce() -> T) -> std::sync::Arc<T> {
    let mut made = made.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let at = number.load(Relaxed) as usize;
    if let Some(atomic) = at.checked_sub(1).and_then(|at| made.get(at)) {
        return atomic.clone();
    }
    let atomic = std::sync::Arc::new(value());
    made.push(atomic.clone());
    number.store(made.len() as u32, Relaxed);
    atomic
}

macro_rules! atomics {
    ($($name:ident, $made:ident of $value:ty),*) => {$(
        loom::lazy_static! {
            static ref $made: Made<loom::sync::atomic::$name> = Mutex::new(Vec::new());
        }

        #[doc = concat!("`", stringify!($name), "` as the model checker orders it.")]
        #[derive(Debug, zerocopy::FromZeros)]
        #[repr(transparent)]
        pub struct $name(Number);

        impl Default for $name {
            fn default() -> Self {
                $name::new(Default::default())
            }
        }

        #[allow(missing_docs)]
        impl $name {
            pub fn new(value: $value) -> Self {
                let new = $name(Number::new(0));
                find(&$made, &new.0, || loom::sync::atomic::$name::new(value));
                new
            }
            fn atomic(&self) -> std::sync::Arc<loom::sync::atomic::$name> {
                find(&$made, &self.0, || loom::sync::atomic::$name::new(Default::default()))
            }
            pub fn load(&self, order: Ordering) -> $value {
                self.atomic().load(order)
            }
            pub fn store(&self, value: $value, order: Ordering) {
                self.atomic().store(value, order);
            }
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.atomic().swap(value, order)
            }
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.atomic().compare_exchange(current, new, success, failure)
            }
            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.atomic().fetch_or(value, order)
            }
            pub fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                self.atomic().fetch_and(value, order)
            }
        }
    )*};
}

macro_rules! numbers {
    ($($name:ident of $value:ty),*) => {$(
        #[allow(missing_docs)]
        impl $name {
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.atomic().fetch_add(value, order)
            }
            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.atomic().fetch_sub(value, order)
            }
            pub fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                self.atomic().fetch_max(value, order)
            }
        }
    )*};
}

atomics!(
    AtomicBool, BOOLS of bool,
    AtomicU8, BYTES of u8,
    AtomicU16, SHORTS of u16,
    AtomicU32, WORDS of u32,
    AtomicU64, LONGS of u64
);
numbers!(AtomicU8 of u8, AtomicU16 of u16, AtomicU32 of u32, AtomicU64 of u64);

//! One list of variants and names for each enum that is written as text.

/// Gives an enum its list of variants, in the order of their numbers, and their names.
macro_rules! names {
    ($type:ident: $what:literal { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every variant, in the order of their numbers.
            pub const ALL: [$type; [$($name),+].len()] = [$($type::$variant),+];

            #[doc = $what]
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name),+
                }
            }
        }
    };
}

pub(super) use names;

//! A macro that gives an enum a list of its variants, and each variant a name.

/// Implements `ALL`, the list of all variants in the order of their numbers, and `name` for an enum.
macro_rules! names {
    ($type:ident: $what:literal { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// All variants, in the order of their numbers.
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

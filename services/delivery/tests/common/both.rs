//! The same test on both queues: what is said above the seam holds whatever carries messages.

/// Makes a test on the table and one on a broker of each of these functions of a rig.
macro_rules! on_both_queues {
    ($($name:ident),+ $(,)?) => {
        mod in_the_table {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::common::Rig::new().await).await;
            })+
        }

        mod on_a_broker {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::common::Rig::on_rabbit().await).await;
            })+
        }
    };
}

//! Mail into a folder.

use tidegate_fanout::MailRoute;
use tidegate_model::{Mail, Message};

use crate::support::{World, eventually};

fn mail(key: &str, to: &str) -> Message {
    Message::Mail(Mail {
        dedupe_key: key.to_owned(),
        to: to.to_owned(),
        subject: "Grüße".to_owned(),
        text: "Follow the link.\n".to_owned(),
    })
}

fn files(world: &World) -> Vec<String> {
    std::fs::read_dir(world.mail.path())
        .expect("a folder")
        .map(|file| {
            let path = file.expect("a file").path();
            assert_eq!(path.extension().and_then(|name| name.to_str()), Some("eml"));
            std::fs::read_to_string(path).expect("text")
        })
        .collect()
}

#[tokio::test]
async fn a_mail_is_written_once_however_often_it_comes() {
    let world = World::start().await;
    let copies = vec![mail("confirm:7", "ada@example.org"); 3];
    world.publish(copies).await;
    eventually("the mail is sent", async || {
        world
            .count("select count(*) from mails_sent where sent_at is not null")
            .await
            == 1
    })
    .await;
    let files = files(&world);
    assert_eq!(files.len(), 1);
    assert!(files[0].contains("To: ada@example.org"), "{}", files[0]);
    assert!(
        files[0].contains("From: \"Us\" <noreply@us.test>")
            || files[0].contains("From: Us <noreply@us.test>")
    );
    assert!(files[0].contains("Follow the link."));
}

#[tokio::test]
async fn an_address_cannot_smuggle_headers_and_goes_to_the_dead() {
    let world = World::start().await;
    let evil = "ada@example.org\r\nBcc: everybody@example.org";
    world.handle(vec![mail("confirm:8", evil)]).await;
    assert_eq!(files(&world).len(), 0);
    assert_eq!(world.count("select count(*) from dead_messages").await, 1);
    assert_eq!(world.count("select count(*) from mails_sent").await, 0);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_keeps_the_mail_waiting() {
    let mut world = World::stopped().await;
    let file = world.mail.path().join("not-a-folder");
    std::fs::write(&file, "").expect("writes");
    world.options.mail.route = MailRoute::Folder(file.join("mail"));
    world.run();
    world
        .publish(vec![mail("confirm:9", "ada@example.org")])
        .await;
    eventually("a try", async || {
        world
            .count(
                "select count(*) from queue_messages where visible_at > now() and holder is null",
            )
            .await
            == 1
    })
    .await;
    assert_eq!(
        world
            .count("select count(*) from mails_sent where sent_at is null")
            .await,
        1
    );
}

//! Between a server and PostgreSQL: passes on what both say, and cuts the connection at a `COMMIT` now and then.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The message with which a client without parameters says it (PostgreSQL's protocol, "Query").
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// One of so many commits is cut.
const CUT_ONE_OF: usize = 12;

/// Where exactly it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The database never hears of it.
    Before,
    /// The database was told, and nobody waits for what it says: it may commit or not.
    Meanwhile,
    /// The database committed and said so, and the server does not hear it.
    After,
}

const CUTS: [Cut; 3] = [Cut::Before, Cut::Meanwhile, Cut::After];

#[derive(Debug)]
struct Shared {
    database: SocketAddr,
    /// Whether it cuts.
    armed: AtomicBool,
    ended: AtomicBool,
    random: Mutex<fastrand::Rng>,
    /// Of each kind.
    cuts: [AtomicUsize; CUTS.len()],
}

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    pub fn start(database: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            database,
            armed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            cuts: Default::default(),
        });
        let listening = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if listening.ended.load(Ordering::SeqCst) {
                    return;
                }
                // A client whose database is away is hung up on, as by the database.
                let _ = connect(client, &listening);
            }
        });
        Ok(Self { address, shared })
    }

    pub fn arm(&self, armed: bool) {
        self.shared.armed.store(armed, Ordering::SeqCst);
    }

    /// How many commits were cut before the database heard of them, meanwhile, and after it had committed.
    pub fn cuts(&self) -> [usize; CUTS.len()] {
        [0, 1, 2].map(|kind: usize| self.shared.cuts[kind].load(Ordering::SeqCst))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // So that it looks.
    }
}

impl Shared {
    /// Whether to cut at this commit, and where.
    fn draw(&self) -> Option<Cut> {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.armed.load(Ordering::SeqCst) || random.usize(..CUT_ONE_OF) != 0 {
            return None;
        }
        let kind = random.usize(..CUTS.len());
        self.cuts[kind].fetch_add(1, Ordering::SeqCst);
        Some(CUTS[kind])
    }
}

/// Passes on both ways, each on a thread of its own, until either side hangs up.
fn connect(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let database = TcpStream::connect(shared.database)?;
    client.set_nodelay(true)?;
    database.set_nodelay(true)?;
    let withheld = Arc::new(AtomicBool::new(false));
    let (mut from_client, mut to_database) = (client.try_clone()?, database.try_clone()?);
    let (mut from_database, mut to_client) = (database, client);
    let (withholds, cutting) = (withheld.clone(), shared.clone());
    std::thread::spawn(move || {
        let _ =
            pass(&mut from_client, &mut to_database, |said| match is_commit(said).then(|| cutting.draw()).flatten() {
                None => Passed::On,
                Some(Cut::Before) => Passed::NotAtAll,
                Some(Cut::Meanwhile) => Passed::AsTheLast,
                Some(Cut::After) => {
                    withholds.store(true, Ordering::SeqCst);
                    Passed::On
                }
            });
        hang_up(&from_client, &to_database);
    });
    std::thread::spawn(move || {
        let withhold = |_: &[u8]| if withheld.load(Ordering::SeqCst) { Passed::NotAtAll } else { Passed::On };
        let _ = pass(&mut from_database, &mut to_client, withhold);
        hang_up(&from_database, &to_client);
    });
    Ok(())
}

enum Passed {
    On,
    AsTheLast,
    NotAtAll,
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, mut whether: impl FnMut(&[u8]) -> Passed) -> io::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let len = from.read(&mut chunk)?;
        let passed = if len == 0 { Passed::NotAtAll } else { whether(&chunk[..len]) };
        if matches!(passed, Passed::NotAtAll) {
            return Ok(());
        }
        to.write_all(&chunk[..len])?;
        if matches!(passed, Passed::AsTheLast) {
            return Ok(());
        }
    }
}

/// A driver writes it by itself, because it waits for the answer before it says anything else.
fn is_commit(said: &[u8]) -> bool {
    said.ends_with(COMMIT)
}

fn hang_up(one: &TcpStream, other: &TcpStream) {
    for side in [one, other] {
        let _ = side.shutdown(Shutdown::Both); // It may have hung up already.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database that answers each message with itself, and counts them.
    fn echo() -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, heard) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = heard.clone();
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let mut message = [0; 64];
                while let Ok(len @ 1..) = client.read(&mut message) {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let _ = client.write_all(&message[..len]);
                }
            }
        });
        (address, heard)
    }

    #[test]
    fn commits_are_cut_when_it_is_armed_and_nothing_else_ever_is() {
        let (database, heard) = echo();
        let proxy = Proxy::start(database, 7).unwrap();
        let say = |words: &[u8]| {
            let mut client = TcpStream::connect(proxy.address).unwrap();
            let mut answer = vec![0; words.len()];
            client.write_all(words).and_then(|()| client.read_exact(&mut answer)).is_ok() && answer == words
        };
        assert!((0..50).all(|_| say(COMMIT)), "it is not armed");
        proxy.arm(true);
        assert!((0..50).all(|_| say(b"Q\0\0\0\x0aBEGIN\0")), "no commit");
        let before = heard.load(Ordering::SeqCst);
        let answered = (0..400).filter(|_| say(COMMIT)).count();
        let [never_heard, meanwhile, unsaid] = proxy.cuts();
        assert!(never_heard > 0 && meanwhile > 0 && unsaid > 0, "{:?}", proxy.cuts());
        // An answer may be faster than the cut.
        assert!(
            (400 - never_heard - meanwhile - unsaid..=400 - never_heard - unsaid).contains(&answered),
            "{answered}"
        );
        let heard = heard.load(Ordering::SeqCst) - before;
        assert!((400 - never_heard - meanwhile..=400 - never_heard).contains(&heard), "{heard}");
    }
}

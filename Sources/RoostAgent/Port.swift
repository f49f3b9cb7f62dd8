import Glibc
import RoostGuestWire

/// The byte channel to the host: a virtio-serial port, or a socket in tests.
///
/// A port reports a hang-up for as long as no host is connected, so it is watched by edge, and
/// a read of nothing means "nobody there", not the end.
final class Port {
    /// What stands in the way of more output than this is made to wait.
    static let highWater = 262_144
    /// What a host that never reads can make us hold before the connection is dropped.
    static let limit = 4 << 20

    let descriptor: Int32
    private let loop: EventLoop
    private let endsWithPeer: Bool
    private var decoder = FrameDecoder()
    private var output: [UInt8] = []
    private var sent = 0
    private var isReadable = true
    private var isWritable = true
    /// A batch reads at most this much, so that output is served too.
    private static let readBatch = 1 << 20

    var onItem: (FrameDecoder.Item) -> Void = { _ in }
    var onError: (WireError) -> Void = { _ in }
    var onEnd: () -> Void = {}

    /// Takes over `descriptor`. With `endsWithPeer` a hang-up is final (a socket).
    init(_ descriptor: Int32, on loop: EventLoop, endsWithPeer: Bool) {
        self.descriptor = descriptor
        self.loop = loop
        self.endsWithPeer = endsWithPeer
        setNonBlocking(descriptor)
        loop.watch(descriptor, EventLoop.readable | EventLoop.writable | EventLoop.edge) {
            [weak self] _ in
            self?.isReadable = true
            self?.isWritable = true
        }
    }

    /// The bytes that wait to be written.
    var pending: Int { output.count - sent }
    /// Whether there is room for more of a stream's output.
    var hasRoom: Bool { pending < Self.highWater }

    /// Queues bytes.
    func send(_ bytes: [UInt8]) {
        if sent == output.count {
            output = bytes
            sent = 0
        } else {
            if sent > Self.highWater {
                output.removeFirst(sent)
                sent = 0
            }
            output += bytes
        }
    }

    /// Forgets queued output: a new host has no use for the last one's.
    func dropOutput() {
        output = []
        sent = 0
    }

    /// Ignores everything until the next preamble.
    func desynchronize() { decoder.desynchronize() }

    /// Reads what is there; answers whether more may be.
    func receive() -> Bool {
        var total = 0
        while isReadable, total < Self.readBatch {
            guard let bytes = readSome(descriptor, 65_536) else {
                if errno == EAGAIN || errno == EINTR { isReadable = false } else { hangUp() }
                break
            }
            guard !bytes.isEmpty else {
                hangUp()
                break
            }
            total += bytes.count
            decoder.feed(bytes)
            drain()
        }
        return isReadable
    }

    /// Whether the host has said or done anything that was not taken yet.
    var hears: Bool {
        var wish = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&wish, 1, 0) != 0
    }

    /// Waits until the host says or does anything. If it begins with `word`, calls `act` before anything
    /// else. What came is taken as ever by the next ``receive()``.
    func stand(until word: [UInt8], act: () -> Void) {
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 16)
        defer { room.deallocate() }
        var wish = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let count = word.withUnsafeBytes { word in
            // Anything that is read before is not a word of its own.
            if !decoder.isEmpty { return 0 }
            while poll(&wish, 1, -1) < 0, errno == EINTR {}
            let count = read(descriptor, room.baseAddress, room.count)
            if count >= word.count, let said = room.baseAddress, let wanted = word.baseAddress,
                memcmp(said, wanted, word.count) == 0
            {
                act()
            }
            return count
        }
        if count > 0 {
            decoder.feed(UnsafeRawBufferPointer(rebasing: room[..<count]))
            drain()
        }
        isReadable = true
    }

    /// Writes what the peer takes; answers whether more could go at once.
    func flush() {
        while isWritable, pending > 0 {
            let end = min(output.count, sent + 32_768)
            let count = output[sent..<end].withUnsafeBytes {
                write(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0 {
                if errno == EINTR { continue }
                isWritable = false
                if errno != EAGAIN && endsWithPeer { onEnd() }
            } else {
                sent += count
            }
        }
        if pending == 0 && sent > 0 { dropOutput() }
    }

    private func drain() {
        while true {
            do throws(WireError) {
                guard let item = try decoder.next() else { return }
                onItem(item)
            } catch {
                decoder.desynchronize()
                onError(error)
            }
        }
    }

    private func hangUp() {
        isReadable = false
        if endsWithPeer { onEnd() }
    }
}

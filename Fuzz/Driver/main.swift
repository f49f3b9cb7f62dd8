import CFuzzer
import FuzzTargets
import Glibc

// roost-fuzz TARGET [libFuzzer's options] [corpus …]: runs one target until it is told to stop.
let names = fuzzTargets.map(\.name)
guard CommandLine.argc > 1,
    let target = fuzzTargets.first(where: { $0.name == CommandLine.arguments[1] })
else {
    print(names.joined(separator: "\n"))
    exit(CommandLine.argc > 1 ? 2 : 0)
}

/// What libFuzzer calls; it takes no context, so that the target is the process's.
let check = target.check

func run(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    do {
        try check([UInt8](UnsafeBufferPointer(start: data, count: size)))
    } catch {
        // A trap is what the fuzzer writes the input down for.
        fatalError("\(error)")
    }
    return 0
}

var count = CommandLine.argc - 1
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv + 1
exit(LLVMFuzzerRunDriver(&count, &arguments) { run($0, $1) })

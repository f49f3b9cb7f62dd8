internal import Glibc
internal import RoostCommands

exit(await roostMain())

internal import ArgumentParser
internal import RoostModel

/// The root of the command tree. It does nothing of its own.
struct Roost: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "roost",
        abstract: "Runs virtual machines.",
        discussion: """
            A VM without a name is disposable: it goes when its command ends. A named one stays.

              roost run -- cat /etc/os-release      one command in a machine of its own
              roost run -it -- sh                   a shell in one
              roost run --name box -c 2 -m 512 -d   a machine that stays
              roost exec box -- uptime              a command in it

            The daemon is started when none answers; roost context chooses another one.
            """,
        version: "roost \(Product.version)",
        groupedSubcommands: [
            CommandGroup(
                name: "Daily",
                subcommands: [
                    Run.self, List.self, Get.self, Execute.self, Shell.self, Copy.self, Logs.self,
                    WaitFor.self,
                ]
            ),
            CommandGroup(
                name: "Power",
                subcommands: [
                    Start.self, Stop.self, Kill.self, Restart.self, Reboot.self, Pause.self,
                    Resume.self, Suspend.self,
                ]
            ),
            CommandGroup(
                name: "Life",
                subcommands: [
                    SetFields.self, Fork.self, Clone.self, Remove.self, Undelete.self, Purge.self,
                ]
            ),
            CommandGroup(
                name: "Checkpoints and templates",
                subcommands: [
                    CheckpointGroup.self, CheckpointLog.self, Back.self, TemplateGroup.self,
                ]
            ),
            CommandGroup(
                name: "Fleet",
                subcommands: [
                    Plan.self, Apply.self, Status.self, NodeGroup.self, TokenGroup.self,
                    AccessGroup.self, Why.self, WhatIfGroup.self, Events.self,
                    Audit.self,
                ]
            ),
            CommandGroup(
                name: "Catalogue and daemon",
                subcommands: [
                    Pull.self, LogIn.self, LogOut.self, ImageGroup.self, KernelGroup.self,
                    OpsGroup.self, DaemonGroup.self, ContextGroup.self, Doctor.self, DiskUsage.self,
                    Version.self, Completion.self, Manual.self,
                ]
            ),
        ]
    )
}

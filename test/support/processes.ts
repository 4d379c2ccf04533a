import { processes, textOf } from '../../src/runner/processes.ts'

/** The command line of a process, with NUL after each argument; '' if it is gone. */
export const commandLine = (pid: number): string => textOf(pid, 'cmdline')

/** The processes of this machine whose command line has a text in it, or fits. */
export const processesWith = (wanted: string | ((line: string) => boolean)): number[] =>
  processes().filter((pid) => {
    const line = commandLine(pid)
    return typeof wanted === 'string' ? line.includes(wanted) : wanted(line)
  })

/** The processes that run a command, whose arguments are separated by blanks. */
export const processesOf = (command: string): number[] =>
  processesWith((line) => line === `${command.replaceAll(' ', '\0')}\0`)

/** The programs of workspaces that serve the files of a project. */
export const workspacePrograms = (cwd: string): number[] =>
  processesWith((line) => /^[^\0]*node\0.*workspace-program/s.test(line) && line.includes(cwd))

export const childrenOf = (pid: number): number[] =>
  textOf(pid, `task/${pid}/children`).split(' ').filter(Boolean).map(Number)

export const descendantsOf = (pid: number): number[] =>
  childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)])

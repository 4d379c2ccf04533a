import { execFile } from 'node:child_process'
import { statfs } from 'node:fs/promises'
import { cpus, loadavg, release, tmpdir, totalmem, type } from 'node:os'
import { promisify } from 'node:util'

/** The names of file systems by their `statfs` type on Linux. */
const FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x794c7630, 'overlayfs'],
  [0x01021994, 'tmpfs: in memory, so NOTHING here was ever flushed to a disk'],
])

/** The machine, as Markdown. Call it before the first bench: it reads the load. */
export async function describeMachine(): Promise<string> {
  const processors = cpus()
  const memory = `${(totalmem() / 2 ** 30).toFixed(0)} GiB of memory`
  const number = (await statfs(tmpdir())).type
  const fileSystem = FILE_SYSTEMS.get(number) ?? `file system type 0x${number.toString(16)}`
  const [load = 0] = loadavg()
  const described = promisify(execFile)('git', ['describe', '--always', '--dirty'])
  const commit = await described.then(({ stdout }) => stdout.trim()).catch(() => 'unknown')
  return [
    `- Measured on ${new Date().toISOString().slice(0, 10)}, on commit ${commit}`,
    `- ${processors.length} cores (${processors[0]?.model.trim() ?? 'unknown'}), ${memory}`,
    `- Node ${process.version}, ${type()} ${release().split('-')[0]}, data on ${fileSystem}`,
    `- Load of the machine in the minute before: ${load.toFixed(1)}`,
  ].join('\n')
}

import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, realpath } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { temporaryFolder } from '../runner/support.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** A machine on which mounts reach other namespaces, as with systemd, and on which every user may read the sources and Node. */
const MACHINE = `folder=$1 root=$2 node=$3 uid=$4; shift 4
mkdir "$folder/root" "$folder/node" "$folder/tmp"
mount --bind "$root" "$folder/root"; mount --bind "$node" "$folder/node"
chown "$uid" "$folder/tmp"; cd "$folder/root"
export TMPDIR="$folder/tmp" HOME="$folder/tmp" PATH="$folder/node/bin:$PATH"
exec setpriv --reuid="$uid" --regid="$uid" --clear-groups "$folder/node/bin/node" "$@"`

type Server = ChildProcess & { readonly stdin: Writable; readonly stdout: Readable }

/** Starts a program of this folder as a user, in a mount namespace of its own. Only root can do that. */
export async function startAs(uid: number, program: string, ...args: string[]): Promise<Server> {
  const folder = await realpath(await temporaryFolder())
  await chmod(folder, 0o755)
  const place = [folder, ROOT, dirname(dirname(process.execPath)), String(uid)]
  const started = spawn(
    'unshare',
    [
      '--mount',
      '--propagation',
      'shared',
      'sh',
      '-ec',
      MACHINE,
      'sh',
      ...place,
      `test/sandbox/${program}`,
      ...args,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  onTestFinished(() => void started.kill('SIGKILL'))
  started.stdout.setEncoding('utf8')
  return started
}

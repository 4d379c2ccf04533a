import { execFile } from 'node:child_process'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import * as z from 'zod'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '../../..')

/** The addresses of the world: two of the machine of the server, and one of a host on the Internet. */
export const MACHINE = '93.184.215.10'
export const OTHER_ADDRESS = '93.184.217.10'
export const HOST = '93.184.215.14'

/** The host on the Internet answers on port 443 with what it was sent. */
const FAR_HOST = `require('node:net')
  .createServer((s) => s.on('error', () => {}).on('data', (d) => s.write('HOST ' + d)).on('end', () => s.end()))
  .listen(443, '0.0.0.0', () => console.log('ready'))`

/**
 * A network namespace for the machine, and one for the host, joined by a virtual cable. The names of the test are in a
 * hosts file that is mounted only here, and the checkout and Node are mounted where every user may read them.
 */
const WORLD = `
set -e
room=$1 node=$2 uid=$3
shift 3
trap 'kill $far $server 2>/dev/null' EXIT
cat >"$room/hosts" <<END
127.0.0.1 localhost loopback.test
${HOST} host.test
${MACHINE} machine.test
192.168.7.7 private.test
END
mount --bind "$room/hosts" /etc/hosts
ip link set lo up
ip addr add ${OTHER_ADDRESS}/32 dev lo
unshare --net sh -c 'echo ready; exec sleep 1000' >"$room/far" &
far=$!
until grep -q ready "$room/far"; do :; done
ip link add cable type veth peer name cable netns $far
ip addr add ${MACHINE}/24 dev cable
ip link set cable up
nsenter -t $far -n ip addr add ${HOST}/24 dev cable
nsenter -t $far -n ip link set cable up
ip route add default via ${HOST}
nsenter -t $far -n "$node/bin/node" -e "${FAR_HOST}" >"$room/server" &
server=$!
until grep -q ready "$room/server"; do :; done
# Everybody may use it on most systems.
[ "$uid" = 0 ] || { mknod -m 666 "$room/tun" c 10 200; mount --bind "$room/tun" /dev/net/tun; }
chmod 755 "$room"
mkdir "$room/checkout" "$room/node"
mount --bind . "$room/checkout"
mount --bind "$node" "$room/node"
cd "$room/checkout"
export PATH="$room/node/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
setpriv --reuid "$uid" --regid "$uid" --clear-groups node "$@"
`

export const isRoot = process.getuid?.() === 0

/** What a command printed, and what was reported of it. */
const Outcome = z.object({
  output: z.string(),
  notices: z.array(z.object({ kind: z.string(), payload: z.record(z.string(), z.json()) })),
})
export type Outcome = z.infer<typeof Outcome>

export type Scripts = Readonly<
  Record<string, { readonly network: unknown; readonly script: string }>
>

/**
 * Runs scripts in the world, each with a network, and returns their outcomes by name.
 * @param uid of the server; only root may choose
 * @param owner of the project, if it is not the user of the server
 */
export async function inWorld(
  scripts: Scripts,
  { uid = 0, owner = uid }: { readonly uid?: number; readonly owner?: number } = {},
): Promise<Readonly<Record<string, Outcome>>> {
  const room = await realpath(await mkdtemp(join(tmpdir(), 'retrai-world-')))
  try {
    const { stdout } = await run(
      'unshare',
      [
        '--mount',
        '--net',
        '--uts',
        '--ipc',
        '--propagation',
        'private',
        ...(isRoot ? [] : ['--user', '--map-root-user']),
        'sh',
        '-c',
        WORLD,
        'sh',
        room,
        dirname(dirname(process.execPath)),
        String(uid),
        'test/sandbox/network/world-process.ts',
        String(owner),
        JSON.stringify(scripts),
      ],
      {
        cwd: ROOT,
        maxBuffer: 16 * 1024 * 1024,
        env: { ...process.env, NODE_OPTIONS: '' },
      },
    )
    return z.record(z.string(), Outcome).parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''))
  } finally {
    await rm(room, { recursive: true, force: true })
  }
}

/** What an attack is aimed at, put in the place of `{NAME}` in its script. */
export type Target = {
  readonly SRV: string
  readonly PORT: string
  readonly DATA: string
  readonly HOME: string
  readonly BASE: string
  readonly PROJECT: string
  readonly ABSTRACT: string
  /** Of shared memory, semaphores and a queue of System V. */
  readonly KEY: string
}

export type Attack = {
  readonly name: string
  /** Prints WON for each thing that it should not be able to do, or a text with CANARY in it. */
  readonly script: string
  /** Calls of other tools after the script, with what they must not be able to do. */
  readonly calls?: readonly {
    readonly tool: string
    readonly args: Readonly<Record<string, string>>
  }[]
  /** Whether it succeeds without isolation, for everybody or only for root, which shows that the attack is real. */
  readonly real?: 'always' | 'root'
  /** docs/security.md names it among what Landlock alone does not prevent. */
  readonly onlyContained?: true
  /** Its exit code, if that matters. */
  readonly exitCode?: number
}

/** Prints WON if a command succeeds. */
const each = (...commands: readonly string[]): string =>
  commands
    .map((command) => `(${command}) >/dev/null 2>&1 && echo 'WON: ${command.replaceAll("'", '"')}'`)
    .join('\n')

const opens = (mode: '<' | '>>', ...paths: readonly string[]): string =>
  each(...paths.map((path) => `: ${mode}${path}`))

const python = (text: string): string => `python3 - <<'PY'\n${text}\nPY`
export const needsPython = ({ script }: Attack): boolean => script.startsWith('python3')

/** Calls of the kernel by number: any errno but EPERM and ENOSYS means that the filter let it pass. */
const SYSTEM_CALLS = `
import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
calls = {'bpf': (321, 280), 'io_uring_setup': (425, 425), 'keyctl': (250, 219), 'userfaultfd': (323, 282),
  'perf_event_open': (298, 241), 'add_key': (248, 217), 'open_by_handle_at': (304, 265), 'clone3': (435, 435),
  'fsopen': (430, 430), 'open_tree': (428, 428), 'mount_setattr': (442, 442), 'setns': (308, 268)}
for name, numbers in calls.items():
    number = numbers[0 if platform.machine() == 'x86_64' else 1]
    ctypes.set_errno(0)
    libc.syscall(number, -1, 0, 0, 0, 0)
    if ctypes.get_errno() not in (1, 38): print('WON:', name, ctypes.get_errno())
`

const SOCKETS = `
import socket
for family, kind, protocol in [(17, 3, 0), (40, 1, 0), (38, 5, 0), (16, 3, 9), (2, 3, 1), (15, 3, 2)]:
    try:
        socket.socket(family, kind, protocol)
        print('WON: socket', family, kind, protocol)
    except OSError: pass
`

const FOREIGN_MEMORY = `
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, {SRV}, 0, 0) == 0:
    print('WON: ptrace')
    libc.ptrace(17, {SRV}, 0, 0)
`

/** Reads from the first readable part of the server's memory. */
const READ_MEMORY = `
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
class Part(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('size', ctypes.c_size_t)]
try:
    with open('/proc/{SRV}/maps') as maps:
        start = int(next(line for line in maps if ' r' in line).split('-')[0], 16)
except OSError: start = 0x400000
own = ctypes.create_string_buffer(16)
local, remote = Part(ctypes.addressof(own), 16), Part(start, 16)
if libc.process_vm_readv({SRV}, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) > 0: print('WON: process_vm_readv')
`

/** pidfd_open and pidfd_getfd. Process 1 of a container keeps no descriptor but those of the command: 4 is its stderr. */
const FOREIGN_DESCRIPTORS = `
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def file(n):
    try: return (os.fstat(n).st_dev, os.fstat(n).st_ino)
    except OSError: return None
own = [file(n) for n in range(256)]
for pid, kept in [({SRV}, ()), (1, (0, 1, 2, 4))]:
    process = libc.syscall(434, pid, 0)
    for n in range(0, 30) if process >= 0 else ():
        taken = -1 if n in kept else libc.syscall(438, process, n, 0)
        if taken >= 0 and file(taken) not in own: print('WON: descriptor', n, 'of', pid)
`

/** What a process of the machine left in System V shared memory, a message queue of System V, and one of POSIX. */
const SHARED_BY_KEY = `
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
shared = libc.shmget({KEY}, 0, 0)
at = libc.shmat(shared, None, 0o10000) if shared >= 0 else None
if at not in (None, ctypes.c_void_p(-1).value): print(ctypes.string_at(at))
for n in range(64):
    at = libc.shmat(n, None, 0o10000)
    if at not in (None, ctypes.c_void_p(-1).value): print('WON: shared memory', n, ctypes.string_at(at, 16))
if libc.msgget({KEY}, 0) >= 0: print('WON: msgget')
if libc.semget({KEY}, 0, 0) >= 0: print('WON: semget')
if libc.mq_open(b'/{ABSTRACT}', 0) >= 0: print('WON: mq_open')
`

const TERMINAL_INPUT = `
import fcntl, os
for path in ['/dev/tty', '/dev/console', '/dev/pts/0', '/dev/ptmx']:
    try:
        fcntl.ioctl(os.open(path, os.O_RDWR), 0x5412, b'x')
        print('WON: TIOCSTI', path)
    except OSError: pass
`

const SET_ID_FILE = `
import os
for mode in (0o4755, 0o2755):
    try:
        os.close(os.open('made-%o' % mode, os.O_CREAT | os.O_WRONLY, mode))
        if os.stat('made-%o' % mode).st_mode & 0o6000: print('WON: open with mode %o' % mode)
    except OSError: pass
`

const connects = (path: string): string =>
  `node -e 'require("node:net").connect(process.argv[1].replace("@", "\\0")).on("connect", () => { console.log("WON"); process.exit() }).on("error", () => process.exit())' '${path}'`

/** Tried through `bash_exec` against a process that plays the server. */
export const ATTACKS: readonly Attack[] = [
  {
    name: 'read the environment of every process',
    script: "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep CANARY_ENV",
    real: 'always',
  },
  {
    name: 'read the environment of the server by its process id',
    script: "tr '\\0' '\\n' </proc/{SRV}/environ | grep CANARY_ENV",
    real: 'always',
  },
  { name: 'open the memory of the server', script: opens('<', '/proc/{SRV}/mem'), real: 'root' },
  {
    name: 'read the memory of the server with a call of the kernel',
    script: python(READ_MEMORY),
    real: 'root',
  },
  {
    name: 'take descriptors of the server or of process 1 that it does not have',
    script: python(FOREIGN_DESCRIPTORS),
    real: 'root',
  },
  {
    name: 'read memory that processes of the machine share',
    script: 'cat /dev/shm/{ABSTRACT}',
    real: 'always',
  },
  {
    name: 'reach shared memory, semaphores and queues of the machine',
    script: python(SHARED_BY_KEY),
    real: 'always',
  },
  {
    name: 'leave through a control group',
    real: 'root',
    script: `${each('mkdir /sys/fs/cgroup/{ABSTRACT}', 'mount -t cgroup2 none /mnt')}; find /sys/fs/cgroup -name release_agent -writable 2>/dev/null | sed "s/^/WON: /"; rmdir /sys/fs/cgroup/{ABSTRACT} 2>/dev/null; :`,
  },
  { name: 'trace the server', script: python(FOREIGN_MEMORY) },
  {
    name: 'read the keys and the log',
    script: 'cat {DATA}/keys/keyring.json {DATA}/log.sqlite',
    real: 'always',
  },
  {
    name: 'find a keyring anywhere on the machine',
    // Where it wins, the first is enough: on a busy machine, to search all files takes minutes.
    script: 'find {BASE} / -xdev -name keyring.json -print -quit 2>/dev/null | sed "s/^/WON: /"',
    real: 'always',
  },
  {
    name: 'change the log and the keys',
    // A container may have a folder of that name in its own temporary files: that is not the log.
    script: each(
      'test -s {DATA}/log.sqlite && echo EVIL >>{DATA}/log.sqlite',
      'rm {DATA}/keys/keyring.json',
    ),
  },
  {
    name: 'move the data folder or the project',
    script: each('test -s {DATA}/log.sqlite && mv {DATA} {DATA}.2', 'mv {PROJECT} {PROJECT}.2'),
  },
  {
    name: 'read the data folder through a link in the project',
    script: 'ln -s {DATA} link; cat link/keys/keyring.json; rm link',
    real: 'always',
  },
  {
    name: 'read the home of the server',
    script: 'cat {HOME}/.ssh/id_ed25519 ~/.ssh/id_ed25519 /proc/1/root{HOME}/.ssh/id_ed25519',
    real: 'always',
  },
  { name: 'read another project', script: 'cat {BASE}/other/notes', real: 'always' },
  {
    name: 'read what only root may read',
    script: "cat /etc/shadow | head -1 | sed 's/^/WON: /'",
    real: 'root',
  },
  {
    // The test has made them readable: to all, to the ordinary user, to his group, and in a folder that cannot be listed.
    name: 'read secrets of the system that its user could read',
    script: 'cat /etc/gshadow /etc/security/opasswd /etc/machine-id /etc/ssh/key',
    real: 'root',
    onlyContained: true,
  },
  {
    name: 'reach the API on loopback',
    script: each(
      'exec 3<>/dev/tcp/127.0.0.1/{PORT}',
      'exec 3<>/dev/tcp/0.0.0.0/{PORT}',
      'exec 3<>/dev/tcp/localhost/{PORT}',
      'exec 3<>/dev/tcp/::1/{PORT}',
    ),
    real: 'always',
  },
  { name: 'reach an abstract socket', script: connects('@{ABSTRACT}'), real: 'always' },
  {
    name: 'reach a socket in another folder',
    script: connects('{BASE}/agent.sock'),
    real: 'always',
  },
  {
    name: 'reach a socket of the machine in its project',
    script: `${connects('{PROJECT}/own.sock')}; ${connects('{PROJECT}/tmp/deep.sock')}`,
    real: 'always',
  },
  {
    name: 'take away what covers a socket of the machine',
    script: each('mv tmp moved', 'ln own.sock hard.sock', 'rm -f own.sock', 'umount own.sock'),
    real: 'always',
    onlyContained: true,
  },
  {
    name: 'see what services of the machine left in /run',
    script: 'ls -A /run | sed "s/^/WON: /"',
    real: 'always',
    onlyContained: true,
  },
  {
    name: 'use a descriptor of the server or the runner',
    script: each(...Array.from({ length: 30 }, (_, n) => `: >&${n + 3}`)),
  },
  {
    name: 'forge its own exit code',
    script: 'for n in 3 4 5 6 7 8; do echo \'{ "exit-code": 0 }\' >&$n; done 2>/dev/null; exit 7',
    exitCode: 7,
  },
  { name: 'type into a terminal', script: python(TERMINAL_INPUT), onlyContained: true },
  {
    name: 'link to files of the system or the server',
    script: each('ln {DATA}/log.sqlite hard', 'ln /etc/passwd hard', 'ln /usr/bin/env hard'),
    onlyContained: true,
  },
  {
    name: 'leave a program with the rights of its owner',
    script: `cp /bin/sh own; ${each('chmod 4755 own', 'chmod u+s own', 'chmod g+s own', 'install -m 4755 /bin/sh own2')}; rm -f own own2`,
    real: 'always',
  },
  {
    name: 'create a file with the rights of its owner',
    script: python(SET_ID_FILE),
    real: 'always',
  },
  {
    name: 'mount and unmount',
    script: each(
      'mount -t tmpfs none /mnt',
      'mount -t tmpfs none /opt',
      'umount /proc/sys',
      'mount -o remount,rw /usr',
      'mount -o remount,bind,rw /',
      'mount --bind . /opt',
      'pivot_root . .',
    ),
  },
  {
    name: 'make a namespace, or enter one',
    script: each(
      'unshare -Ur true',
      'unshare -m true',
      'unshare -n true',
      'nsenter -t 1 -m true',
      'bwrap --ro-bind / / true',
    ),
    real: 'always',
  },
  {
    name: 'change what git and this server run later',
    script: each(
      'echo evil >.git/hooks/pre-commit',
      'echo evil >>.git/config',
      'git config core.fsmonitor evil',
      'rm -rf .git/hooks',
      'rm -f .git/config',
      'mv .git/hooks .git/hooks2',
      'mv .git .git2',
      'echo evil >.retrai.yml',
      'rm .retrai.yml',
      'mv .retrai.yml other.yml',
      'ln -sf other.yml .retrai.yml',
    ),
    real: 'always',
    onlyContained: true,
  },
  {
    name: 'change what people and the system run later',
    script: opens(
      '>>',
      '{HOME}/.bashrc',
      '/etc/profile.d/x.sh',
      '/usr/local/bin/x',
      '/etc/ld.so.preload',
      '/etc/cron.d/x',
      '/etc/passwd',
      '/usr/bin/bwrap',
      '/proc/1/exe',
    ),
  },
  {
    name: 'change settings of the kernel',
    script: `${opens('>>', '/proc/sys/kernel/core_pattern', '/proc/sys/vm/drop_caches', '/proc/sys/vm/overcommit_memory', '/proc/sys/net/ipv4/ip_forward', '/proc/sys/kernel/hostname')}; ${each('hostname evil')}`,
    real: 'root',
  },
  {
    name: 'write any other file of /proc',
    script:
      'find /proc -maxdepth 3 -type f -writable -not -path "/proc/[0-9]*" -not -path "/proc/*self/*" -exec test -f {} ";" -print 2>/dev/null | sed "s/^/WON: /"',
    real: 'root',
    onlyContained: true,
  },
  {
    name: 'write into a folder of /proc that is covered',
    script: ['acpi', 'driver', 'fs', 'pressure']
      .map((name) => each(`chmod 777 /proc/${name}`, `touch /proc/${name}/made`))
      .join('\n'),
    onlyContained: true,
  },
  {
    name: 'open or make devices',
    script: `${opens('<', '/dev/mem', '/dev/kmsg', '/dev/vda', '/dev/sda', '/dev/nvme0n1')}; ${each('mknod disk b 8 0', 'mknod mem c 1 1')}`,
  },
  {
    name: 'take rights through sudo or su',
    script: each('su -c true', 'sudo -n true', 'chroot / true'),
  },
  {
    name: 'signal the server and everything else',
    script: `${each('kill -STOP {SRV}', 'kill -9 {SRV}', 'kill -0 {SRV}')}; kill -STOP $PPID; kill -STOP 1; kill -9 1; :`,
    onlyContained: true,
  },
  {
    name: 'reach the network',
    script: each(
      'exec 3<>/dev/udp/1.1.1.1/53',
      'exec 3<>/dev/tcp/1.1.1.1/443',
      'getent hosts example.com',
    ),
  },
  { name: 'make sockets of rare families', script: python(SOCKETS) },
  { name: 'use rare calls of the kernel', script: python(SYSTEM_CALLS) },
  {
    name: 'reach the program that serves the file tools',
    real: 'always',
    // Its own command line must not match.
    script: `for p in $(grep -alE 'workspace-progra[m]' /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3); do
  grep -aq PATH /proc/$p/environ 2>/dev/null && echo WON environment
  (exec 3<>/proc/$p/mem) 2>/dev/null && echo WON memory
  ls /proc/$p/fd/1 >/dev/null 2>&1 && echo WON output
done; :`,
  },
  {
    name: 'lead the file tools out of the project',
    script:
      'ln -sfn {DATA} out; ln -sf {DATA}/log.sqlite log; mkdir -p deep; ln -sfn {HOME} deep/home; :',
    calls: [
      { tool: 'file_read', args: { path: 'out/keys/keyring.json' } },
      { tool: 'file_read', args: { path: 'log' } },
      { tool: 'file_read', args: { path: '{DATA}/keys/keyring.json' } },
      { tool: 'file_read', args: { path: '../data/log.sqlite' } },
      { tool: 'file_read', args: { path: 'deep/home/.ssh/id_ed25519' } },
      { tool: 'file_write', args: { path: 'out/keys/keyring.json', content: 'EVIL' } },
      { tool: 'file_write', args: { path: '{DATA}/log.sqlite', content: 'EVIL' } },
      { tool: 'file_write', args: { path: 'deep/home/.bashrc', content: 'EVIL' } },
      { tool: 'file_patch', args: { path: 'log', old: 'CANARY_LOG', new: 'EVIL' } },
      { tool: 'file_list', args: { path: 'out/keys' } },
      { tool: 'grep_search', args: { pattern: 'CANARY', path: 'out' } },
      { tool: 'grep_search', args: { pattern: 'CANARY' } },
      { tool: 'find_files', args: { pattern: 'out/**' } },
    ],
  },
  {
    name: 'run programs of its choice through the git tools',
    script: `cat >spy <<'END'
#!/bin/sh
cat {DATA}/keys/keyring.json {HOME}/.ssh/id_ed25519 >>{PROJECT}/stolen
END
chmod +x spy; echo '* diff=spy' >.gitattributes
for name in core.fsmonitor core.pager diff.external diff.spy.textconv; do git config --global $name "$PWD/spy"; done; :`,
    calls: [
      { tool: 'git_status', args: {} },
      { tool: 'git_diff', args: {} },
      { tool: 'git_log', args: {} },
      {
        tool: 'bash_exec',
        args: {
          command: 'cat stolen 2>/dev/null; rm -f stolen spy .gitattributes ~/.gitconfig; :',
        },
      },
    ],
  },
  {
    name: 'leave processes behind',
    script:
      'setsid nohup sleep 98765 >/dev/null 2>&1 & (env -i setsid sleep 98765 &) ; (setsid sleep 98765 &) ; sleep 0.2; echo done',
    onlyContained: true,
  },
]

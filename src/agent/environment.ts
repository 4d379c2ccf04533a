import { hasSockets, type IsolationPolicy } from '../domain/isolation.ts'

/** The tool with which an agent asks a person for hosts, where a server has it. */
export const ASKS_FOR_HOSTS = 'request_network'

/**
 * What commands of a run may see and do, what they reach, and what stays of them: a line each, for the model.
 * @param canAsk whether the model has the tool that asks for hosts
 */
export function describeEnvironment(policy: IsolationPolicy, canAsk = false): string {
  if (policy.level === 'refused') {
    return '- Commands are refused here, because this server cannot isolate them. Other tools work.'
  }
  const isWidenable = canAsk && policy.level === 'namespaces' && policy.network !== 'full'
  const ask = isWidenable ? ` ${ASKS_FOR_HOSTS} asks a person for hosts.` : ''
  return [rightsIn(policy), `${networkIn(policy)}${ask}`, whatStays(policy)]
    .map((line) => `- ${line}`)
    .join('\n')
}

function rightsIn({ level, visible, writable, protected: kept }: IsolationPolicy): string {
  if (level === 'none') {
    return 'Commands are not isolated: they can change whatever this user may change on this machine. Leave all that is outside of the project as it is.'
  }
  const how = level === 'namespaces' ? 'run in a container' : 'are confined by the system'
  const except = kept.length === 0 ? '' : ` (except ${kept.join(', ')})`
  const places = writable.includes('home') ? ', $HOME and $TMPDIR' : ''
  const around = visible.includes('repository') ? ' and the repository around the project' : ''
  return `Commands ${how}: they can change the project${except}${places}, and read the programs and tool chains of the system${around}. Everything else of this machine is hidden.`
}

const NO_NETWORK =
  'Commands have no network: nothing can be downloaded, and no name of a host is found. Work with what is installed, and do not wait for downloads.'

function networkIn({ network, hosts = [] }: IsolationPolicy): string {
  switch (network) {
    case 'none':
      return NO_NETWORK
    case 'allow-list':
      return `Commands reach only these hosts, through the proxy that $HTTPS_PROXY names: ${hosts.join(', ')}. All others are refused.`
    case 'full':
      return 'Commands reach every host of the Internet, but not this machine.'
    case 'host':
      return 'Commands have the network of this machine.'
  }
}

function whatStays({ level, writable }: IsolationPolicy): string {
  const home = writable.includes('home')
    ? 'What you put into $HOME and $TMPDIR stays until the run ends, but the check of the goal does not see it. '
    : ''
  const ports = hasSockets(level) ? 'your commands reach it on localhost' : 'it has no ports'
  return `${home}A process that a command leaves in the background ends with the command. One that you start with process_start stays until the next check: ${ports}.`
}

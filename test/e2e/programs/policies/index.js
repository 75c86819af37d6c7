// A pack on the SDK of policies, as people write them; CommonJS, because that is what the SDK loads.
const { PolicyPack } = require('@pulumi/policy');

const isStash = (type) => type === 'pulumi:index:Stash';

new PolicyPack('words', {
  enforcementLevel: 'mandatory',
  policies: [
    {
      name: 'no-shouting',
      description: 'Words are in lower case.',
      enforcementLevel: 'advisory',
      validateResource: ({ type, props }, report) => {
        if (isStash(type) && /[A-Z]/.test(props.input)) report(`${props.input} is loud`);
      },
    },
    {
      name: 'nothing-forbidden',
      description: 'Nothing says what it must not.',
      configSchema: { properties: { forbidden: { type: 'string', default: 'forbidden' } } },
      validateResource: ({ type, props, getConfig }, report) => {
        if (isStash(type) && props.input.includes(getConfig().forbidden)) report(`it says ${props.input}`);
      },
    },
    {
      name: 'trimmed',
      description: 'Nothing ends in spaces.',
      enforcementLevel: 'remediate',
      remediateResource: ({ type, props }) => {
        if (isStash(type) && props.input !== props.input.trimEnd()) return { ...props, input: props.input.trimEnd() };
        return undefined;
      },
    },
    {
      name: 'no-business-of-the-run',
      description: 'A pack sees no credential and nothing of ours.',
      validateStack: (_args, report) => {
        const seen = Object.keys(process.env).filter((name) =>
          /^(TOKEN|PLUMBLINE_|PULUMI_(CONFIG_PASSPHRASE|BACKEND_URL))/.test(name),
        );
        if (seen.length > 0) report(`sees ${seen.join(', ')}`);
      },
    },
    {
      name: 'few-words',
      description: 'A stack has two words at most.',
      validateStack: ({ resources }, report) => {
        if (resources.filter(({ type }) => isStash(type)).length > 2) report('too many words');
      },
    },
  ],
});

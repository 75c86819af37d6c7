import * as pulumi from '@pulumi/pulumi';

interface Inputs {
  name: string;
  text: string;
}

/** Writes text to `$FILES_DIR/<name>` and logs each call, so that a test sees what the provider did. */
const provider: pulumi.dynamic.ResourceProvider<Inputs, Inputs & { size: number }> = {
  async create(inputs) {
    const { appendFileSync, writeFileSync } = await import('node:fs');
    const folder = process.env['FILES_DIR'];
    appendFileSync(`${folder}/log`, `create ${inputs.name}\n`);
    writeFileSync(`${folder}/${inputs.name}`, inputs.text);
    return { id: inputs.name, outs: { name: inputs.name, text: inputs.text, size: inputs.text.length } };
  },
  async diff(_id, olds, news) {
    const changed = olds.text !== news.text || olds.name !== news.name;
    return { changes: changed, replaces: olds.name === news.name ? [] : ['name'] };
  },
  async read(id, props) {
    const { existsSync, readFileSync } = await import('node:fs');
    const path = `${process.env['FILES_DIR']}/${id}`;
    if (!existsSync(path)) return {};
    const text = readFileSync(path, 'utf8');
    if (text === 'nobody may read this') throw new Error(`access to ${id} is denied`);
    if (text === 'this never answers') await new Promise((resolve) => setTimeout(resolve, 3_600_000));
    return { id, props: { ...props, name: id, text, size: text.length } };
  },
  async update(id, _olds, news) {
    const { appendFileSync, writeFileSync } = await import('node:fs');
    appendFileSync(`${process.env['FILES_DIR']}/log`, `update ${id}\n`);
    writeFileSync(`${process.env['FILES_DIR']}/${id}`, news.text);
    return { outs: { name: news.name, text: news.text, size: news.text.length } };
  },
  async delete(id) {
    const { appendFileSync, rmSync } = await import('node:fs');
    appendFileSync(`${process.env['FILES_DIR']}/log`, `delete ${id}\n`);
    rmSync(`${process.env['FILES_DIR']}/${id}`, { force: true });
  },
};

export class TextFile extends pulumi.dynamic.Resource {
  declare readonly name: pulumi.Output<string>;
  declare readonly text: pulumi.Output<string>;
  declare readonly size: pulumi.Output<number>;

  constructor(
    name: string,
    inputs: { name: string; text: pulumi.Input<string> },
    options?: pulumi.CustomResourceOptions,
  ) {
    super(provider, name, { size: undefined, ...inputs }, options);
  }
}

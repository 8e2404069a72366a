//async
// Avisa o faturamento (billing-ops) quando muda algo que interessa à cobrança. Não envia dado pessoal.
// Cole em dois gatilhos da tabela: "depois de criar" e "depois de atualizar".

$tabela   = "contratos";                       // nome de API desta tabela
$endereco = "https://ENDERECO/v1/webhooks/jestor";
$segredo  = "COLE-AQUI-O-SEGREDO";
$chave    = "jestor_id";
$estagio  = "status";                          // campo do estágio (Kanban)
$param    = array("Churn", "Suspenso");        // estágios que param a cobrança na hora
$campos   = "
name empresa cliente servico descricao_da_nota quantidade valor_mensal desconto dia_de_vencimento
inicio fim status modo_da_mudanca mudanca_vale_a_partir_de indice_de_reajuste reajuste_percentual
";

// Daqui para baixo não mude nada.

$antes  = isset($objectOld) && is_array($objectOld) ? $objectOld : array();
$depois = (isset($objectNew) && is_array($objectNew) ? $objectNew : array()) + $antes;
$texto  = function ($valor) {
    if (is_array($valor)) {
        return json_encode($valor);
    }
    return is_numeric($valor) ? (string) (float) $valor : trim((string) $valor);
};

$mudou = array();
foreach (preg_split("/\s+/", trim($campos)) as $campo) {
    $novo = isset($depois[$campo]) ? $texto($depois[$campo]) : "";
    $velho = isset($antes[$campo]) ? $texto($antes[$campo]) : "";
    if ($novo !== $velho) {
        $mudou[] = $campo;
    }
}

if (count($mudou) > 0) {
    try {
        $agora = isset($depois[$estagio]) ? $texto($depois[$estagio]) : "";
        $rota  = in_array($agora, $param, true) ? "/churn" : "/contract";
        $corpo = json_encode(array(
            "evento" => count($antes) > 0 ? "atualizado" : "criado",
            "tabela" => $tabela,
            $chave   => (int) $depois["id_" . $tabela],
            "status" => $agora,
            "campos" => $mudou
        ));
        $hora = time();
        $cabecalhos = array(
            "Content-Type: application/json",
            "x-webhook-signature: t=" . $hora . ",v1=" . hash_hmac("sha256", $hora . "." . $corpo, $segredo)
        );
        Jestor.curlCall($endereco . $rota, "POST", $corpo, $cabecalhos);
    } catch (\Throwable $erro) {
        // É só um aviso: se não chegar, a varredura diária encontra a mudança. Nada impede a pessoa de salvar.
    }
}
